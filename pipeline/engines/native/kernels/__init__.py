"""What modules compute with: compiled loops over pixels and objects, which know no settings."""
