"""CPJUMP1 alone: its published numbers beside ours, and its splits."""
