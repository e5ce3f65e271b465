from agent.wire.info import FEATURES
from agent.wire.monitors import Monitor, PutMonitor
from agent.wire.processes import ProcessConfig, Rule
from agent.wire.releases import VersionProbe
from tasks.decisions.monitoring import decide_monitors

RULES = ProcessConfig(rules=(Rule(type="name", pattern="app", name="main"),))
PROBE = VersionProbe(type="command", command="app --version")


def wanted(**fields) -> PutMonitor:
    return PutMonitor(**{"version": "1.5", "release_id": "r", "process_config": RULES, **fields})


def found(project_id="shop", **fields) -> Monitor:
    return Monitor(
        **{"project_id": project_id, "version": "1.5", "release_id": "r", "process_config": RULES, **fields}
    )


def decide(want, have, features=FEATURES, **more):
    changes = decide_monitors(want, have, features, **more)
    return sorted(changes.put), changes.delete


def test_what_is_as_it_should_be_is_left_alone():
    assert decide({"shop": wanted()}, [found()]) == ([], ())
    assert decide({"shop": wanted()}, [found(release_id="another", spooled=3)]) == ([], ())


def test_missing_one_is_put():
    assert decide({"shop": wanted()}, []) == (["shop"], ())


def test_one_of_something_else_is_put_anew():
    for other in (
        {"version": "1.4"},
        {"process_config": ProcessConfig()},
        {"version_probe": PROBE},
        {"containers": True},
    ):
        assert decide({"shop": wanted()}, [found(**other)]) == (["shop"], ()), other


def test_one_of_what_is_not_there_is_deleted():
    assert decide({}, [found(), found("blog")]) == ([], ("blog", "shop"))


def test_what_is_deployed_just_now_is_left_alone():
    assert decide({"shop": wanted()}, [found("blog")], leave={"shop", "blog"}) == ([], ())


def test_what_an_older_agent_does_not_know_is_no_difference():
    probed = wanted(version_probe=PROBE, work_dir="/srv", containers=True)
    assert decide({"shop": probed}, [found()], features=()) == ([], ())
    nothing = wanted(process_config=ProcessConfig(), containers=True)
    assert decide({"shop": nothing}, [], features=()) == ([], ())
    assert decide({"shop": nothing}, []) == (["shop"], ())
