"""What a job will cost: counts of work, speeds of devices, seconds to come."""
