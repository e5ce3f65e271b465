from agent.processes.matching import compile_rules
from agent.processes.memory import FULL_SCAN_EVERY, Memory
from agent.wire.processes import Rule

RULES = compile_rules([Rule(type="name", pattern="a", name="a")])


def test_first_round_and_every_few_look_at_everything():
    memory, pids = Memory(RULES), frozenset("12345")
    full = []
    for _ in range(FULL_SCAN_EVERY * 2):
        full.append(memory.candidates(pids, fresh=False) == pids)
        memory.remember(pids, {})
    assert [i for i, whole in enumerate(full) if whole] == [0, 1, FULL_SCAN_EVERY]


def test_settled_processes_are_left_out_and_matches_are_kept():
    memory, pids = Memory(RULES), frozenset("123")
    for _ in range(2):
        memory.remember(pids, {"2": {"a"}})
    assert memory.candidates(frozenset("1234"), fresh=False) == frozenset("24")
    assert memory.candidates(frozenset("1234"), fresh=True) == frozenset("1234")


def test_new_process_is_looked_at_twice():
    memory = Memory(RULES)
    memory.remember(frozenset("1"), {})
    memory.remember(frozenset("12"), {})
    assert memory.candidates(frozenset("12"), fresh=False) == frozenset("2")
    memory.remember(frozenset("12"), {})
    assert memory.candidates(frozenset("12"), fresh=False) == frozenset()


def test_rule_that_lost_its_match_is_noticed():
    memory = Memory(RULES)
    memory.remember(frozenset("1"), {"1": {"a"}})
    assert memory.lost_a_rule({})
    assert not memory.lost_a_rule({"2": {"a", "b"}})
