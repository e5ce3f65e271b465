"""The fleet, looked after: who is online, who is watched as it should be, what is dropped. The scheduled flows call it."""
