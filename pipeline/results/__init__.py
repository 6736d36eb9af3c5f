"""What lies below a root of results: read by all rooms, each part written by one stage."""
