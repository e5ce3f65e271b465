"""CPU, memory and network of 50 containers: the collector against `docker stats`, the SDK and bare kernel files (the floor)."""
