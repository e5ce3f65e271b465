"""The container collector against `docker stats`, the SDK and the floor."""
