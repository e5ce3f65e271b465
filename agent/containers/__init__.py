"""The host's containers: what runs on its engine, and how a version's container takes its predecessor's place."""
