"""TEST-001: the process matching rules, against real processes."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from agent.processes.collector import ProcessCollector
from agent.processes.listeners import _by_netlink, _by_proc
from agent.wire.processes import Rule
from tests.real_processes import Processes, wait_until

T = f"{os.getpid():x}"
"""In every name, so that two runs of these tests at once don't see each other's processes."""

SLEEP = "import time; time.sleep(3600)"


@pytest.fixture
def processes(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    started = Processes(folder)
    yield started
    started.end()


@pytest.fixture
def collector():
    return ProcessCollector(own_pids=lambda: {os.getpid()})


def rule(kind, pattern, name="r"):
    return Rule(type=kind, pattern=str(pattern), name=name)


def matched(collector, *rules, **options):
    return [(p.matched_by, p.pid) for p in collector.collect(rules, **options).processes]


def test_name_is_the_whole_name(processes, collector):
    shop = processes.named(f"shop-t1{T}")
    processes.named(f"shop-t1-worker{T}")
    assert matched(collector, rule("name", f"shop-t1{T}")) == [("r", shop.pid)]


def test_name_with_wildcards(processes, collector):
    pids = sorted(processes.named(name).pid for name in (f"{T}-a1", f"{T}-b1"))
    assert matched(collector, rule("name", f"{T}-?1")) == [("r", pid) for pid in pids]
    assert matched(collector, rule("name", f"{T}-[ab]1")) == []


def test_name_longer_than_the_kernel_keeps(processes, collector):
    long = processes.named(f"a-name-of-more-than-fifteen{T}")
    assert matched(collector, rule("name", f"a-name-of-more-than-fifteen{T}")) == [("r", long.pid)]
    assert matched(collector, rule("name", "a-name-of-more-")) == []
    assert (
        collector.collect([rule("name", f"a-name*fifteen{T}")]).processes[0].name
        == f"a-name-of-more-than-fifteen{T}"
    )


@pytest.mark.parametrize("start", ["we i (x) ", ") S 1 (", "((("])
def test_name_with_spaces_and_parentheses(processes, collector, start):
    name = start + T
    process = processes.named(name)
    found = collector.collect([rule("name", name)]).processes
    assert [(p.pid, p.name) for p in found] == [(process.pid, name)]
    assert found[0].status in ("sleeping", "running")  # what stands behind the name was read right


def test_script_with_a_long_name_is_found_by_it(processes, collector, tmp_path):
    script = tmp_path / "a-script-with-a-long-name.sh"
    script.write_text("#!/bin/sh\nsleep 3600\nexit 1\n")
    script.chmod(0o755)
    process = processes.start([str(script)])
    # Its child has the same name until it becomes a sleep.
    wait_until(lambda: matched(collector, rule("name", script.name), fresh=True) == [("r", process.pid)])


def test_cmdline_is_a_substring_of_the_joined_arguments(processes, collector):
    process = processes.python(SLEEP, f"--marker-one{T}", "two")
    assert wait_until(lambda: matched(collector, rule("cmdline", f"marker-one{T} two"), fresh=True)) == [
        ("r", process.pid)
    ]
    assert matched(collector, rule("cmdline", f"marker-one{T}  two")) == []


def test_cmdline_of_100_kb_is_matched_in_full_and_cut_in_the_answer(processes, collector):
    process = processes.python(SLEEP, "x" * 100_000, "--password", "hunter2", f"the-end-marker{T}")
    assert wait_until(lambda: matched(collector, rule("cmdline", f"hunter2 the-end-marker{T}"), fresh=True))
    [info] = collector.collect([rule("cmdline", f"the-end-marker{T}")]).processes
    assert info.pid == process.pid
    assert len(info.cmdline) == 4096


def test_password_on_a_command_line_is_masked(processes, collector):
    processes.python(SLEEP, "--password", "hunter2", f"mask-marker{T}")
    found = wait_until(lambda: collector.collect([rule("cmdline", f"mask-marker{T}")], fresh=True).processes)
    assert "hunter2" not in found[0].model_dump_json()
    assert f"--password *** mask-marker{T}" in found[0].cmdline


@pytest.mark.parametrize("family", ["4", "6"])
def test_port_finds_the_listener(processes, collector, family):
    process, port = processes.server(family)
    other, _ = processes.server("4")
    assert matched(collector, rule("port", port)) == [("r", process.pid)]
    assert collector.collect([rule("port", port)]).processes[0].ports == (port,)
    process.kill()
    process.wait()
    assert matched(collector, rule("port", port)) == []
    assert other.poll() is None


def test_port_of_forked_workers_lists_them_and_one_root(processes, collector):
    process, port = processes.server("4", workers=2)
    found = collector.collect([rule("port", port)]).processes
    assert len(found) == 3
    assert [p.pid for p in found if p.is_root] == [process.pid]


def test_port_that_was_taken_over_is_found_at_its_new_owner(processes, collector):
    first, port = processes.server()
    assert matched(collector, rule("port", port))
    first.kill()
    first.wait()
    code = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); print(1, flush=True); time.sleep(3600)"
    second = processes.python(code, stdout=subprocess.PIPE)
    assert second.stdout.readline()
    assert matched(collector, rule("port", port)) == [("r", second.pid)]


def test_pidfile(processes, collector, tmp_path):
    process = processes.named(f"pidfile-app{T}")
    file = tmp_path / "app.pid"
    file.write_text(f"{process.pid}\n")
    assert matched(collector, rule("pidfile", file)) == [("r", process.pid)]
    old = time.time() - 3600
    os.utime(file, (old, old))
    assert matched(collector, rule("pidfile", file)) == [], "older than the process it names: stale"


@pytest.mark.parametrize("content", ["", "x", "0", "-1", "4194304", "99999999999999999999"])
def test_pidfile_with_nonsense_matches_nothing(collector, tmp_path, content):
    file = tmp_path / "app.pid"
    file.write_text(content)
    assert collector.collect([rule("pidfile", file)]).unmatched_rules == ("r",)


def test_pidfile_that_is_a_fifo_or_a_folder_does_not_block(collector, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    rules = [
        rule("pidfile", tmp_path / "fifo", "a"),
        rule("pidfile", tmp_path, "b"),
        rule("pidfile", tmp_path / "no", "c"),
    ]
    assert collector.collect(rules).unmatched_rules == ("a", "b", "c")


def test_process_is_listed_once_for_each_rule_it_matches(processes, collector):
    process = processes.named(f"thrice-app{T}", "3601")
    rules = [
        rule("cmdline", f"thrice-app{T} 3601", "c"),
        rule("name", f"thrice-app{T}", "n"),
        rule("name", f"thrice-*{T}", "g"),
    ]
    assert matched(collector, *rules, rule("name", f"no-such-app{T}", "none")) == [
        (n, process.pid) for n in "cng"
    ]
    assert collector.collect([*rules, rule("name", f"no-such-app{T}", "none")]).unmatched_rules == ("none",)


def test_agent_and_excluded_processes_never_match(processes):
    process = processes.named(f"own-wrapper{T}")
    collector = ProcessCollector(own_pids=lambda: {os.getpid(), process.pid})
    assert collector.collect([rule("name", f"own-wrapper{T}")]).processes == ()
    free = ProcessCollector(own_pids=set)
    assert matched(free, rule("name", f"own-wrapper{T}")) == [("r", process.pid)]
    assert matched(free, rule("name", f"own-wrapper{T}"), exclude_pids=frozenset({process.pid})) == []


def test_zombie_matches_by_name_and_has_no_command_line(processes, collector, tmp_path):
    child = tmp_path / "bin" / f"zombie-app{T}"
    shutil.copy2("/bin/true", child)
    code = f"import subprocess, time; p = subprocess.Popen([{str(child)!r}]); print(p.pid, flush=True); time.sleep(3600)"
    parent = processes.python(code, stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())

    def zombie():
        found = collector.collect([rule("name", f"zombie-app{T}")], fresh=True).processes
        return [p for p in found if p.status == "zombie"]

    [info] = wait_until(zombie)
    assert (info.pid, info.cmdline, info.is_root) == (pid, "", True)


def test_stopped_process_is_told_as_stopped(processes, collector):
    process = processes.named(f"stopped-app{T}")
    os.kill(process.pid, signal.SIGSTOP)
    wait_until(lambda: collector.collect([rule("name", f"stopped-app{T}")]).processes[0].status == "stopped")


def test_process_that_started_after_the_first_round_is_found_by_the_next(processes, collector):
    rules = [rule("name", f"late-app{T}")]
    for _ in range(3):
        assert matched(collector, *rules) == []
    process = processes.named(f"late-app{T}")
    assert matched(collector, *rules) == [("r", process.pid)]
    process.kill()
    process.wait()
    assert matched(collector, *rules) == []


def test_process_that_exec_s_in_place_is_seen_by_a_fresh_look(processes, collector, tmp_path):
    rules, go = [rule("name", f"execed-app{T}")], tmp_path / "go"
    first = processes.named(f"execed-app{T}")
    first.kill()
    first.wait()
    code = f"while [ ! -e {go} ]; do sleep 0.05; done; exec {tmp_path}/bin/execed-app{T} 3600"
    process = processes.start(["sh", "-c", code])
    for _ in range(3):
        matched(collector, *rules)
    go.touch()
    assert wait_until(lambda: matched(collector, *rules, fresh=True)) == [("r", process.pid)]


def test_processes_that_die_meanwhile_are_skipped(processes, collector):
    churn = processes.start(["sh", "-c", f"while :; do sh -c 'exit 0' churn-marker{T}; done"])
    for _ in range(200):
        collector.collect([rule("cmdline", f"churn-marker{T}"), rule("name", "s*", "n")], fresh=True)
    assert churn.poll() is None


def test_listeners_are_the_same_by_netlink_and_by_proc(processes):
    ports = [processes.server("4")[1], processes.server("6")[1]]
    for listing in (_by_netlink(), _by_proc()):
        assert set(ports) <= set(listing.values())
