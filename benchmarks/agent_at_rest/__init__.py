"""What an agent costs a host when nothing is deployed."""
