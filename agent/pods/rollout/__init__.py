"""Bringing a Deployment to a version: set its image, wait for the rollout, put the previous one back where it fails."""
