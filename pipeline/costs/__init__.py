"""What work takes and costs: metered in each task, priced by a table that can be edited, kept beside the results."""
