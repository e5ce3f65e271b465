"""What one message of many pieces of news says, and how much of it."""

from db.models import News
from tasks.alerting.messages import MOST_DETAILS, message_of

COUNTS = "7 upgraded, 1 failed of 8 clients\ndeploy task 0198\nhttp://prefect/runs/flow-run/1"


def alert(
    number=1, event="firing", level="warning", body="main exited\nlast deployed: 1.5, by deploy task 0198"
):
    title = f"{'resolved: ' if event == 'resolved' else ''}shop on web-{number}: process exit"
    return News(event=event, level=level, alert_id=f"{number}", title=title, body=body)


def deploy_task():
    return News(
        event="failed", level="critical", deploy_task_id="0198", title="shop upgrade 1.5: failed", body=COUNTS
    )


def test_one_piece_is_told_as_it_is():
    message = message_of([deploy_task()])
    assert (message.title, message.body, message.level) == ("shop upgrade 1.5: failed", COUNTS, "critical")


def test_many_keep_counts_link_and_which_deploy_task_was_last():
    message = message_of([alert(1), deploy_task(), alert(1, "resolved")])
    assert message.title == "3 messages: 2 new, 1 resolved"
    assert message.level == "critical"
    assert message.body.splitlines() == [
        "- shop upgrade 1.5: failed",
        "  7 upgraded, 1 failed of 8 clients",
        "  deploy task 0198",
        "  http://prefect/runs/flow-run/1",
        "- shop on web-1: process exit",
        "  main exited",
        "  last deployed: 1.5, by deploy task 0198",
        "- resolved: shop on web-1: process exit",
        "  main exited",
        "  last deployed: 1.5, by deploy task 0198",
    ]


def test_rack_of_200_stays_readable():
    message = message_of([*(alert(number, body="x\n" + "y" * 90) for number in range(200)), deploy_task()])
    lines = message.body.splitlines()
    titles = [line for line in lines if line.startswith("- ")]
    details = [line for line in lines if line.startswith("  ")]
    assert titles[:3] == [
        "- shop upgrade 1.5: failed",
        "- shop on web-0: process exit",
        "- shop on web-1: process exit",
    ]
    assert len(titles) == 50
    assert lines[-1] == "… and 151 more: GET /release/alerts"
    assert "  http://prefect/runs/flow-run/1" in details
    assert sum(map(len, details)) <= MOST_DETAILS
    assert len(details) > 40
    assert lines[-2].startswith("- "), "the last ones are titles alone"


def test_one_that_says_too_much_keeps_nothing_from_the_others():
    message = message_of([alert(1, body="z" * 9000), alert(2, body="line\n" * 2000), alert(3)])
    assert "  last deployed: 1.5, by deploy task 0198" in message.body
    assert len(message.body) < MOST_DETAILS + 500
