"""Alerts and news, as changes of rows and as messages that leave: called by the release API and by the scheduled flows.

Free of Prefect's flows and tasks, as planning is.
"""
