"""A cluster's pods: collected, watched, reported; and Deployments that are brought to a version."""
