"""Whose a pod is, and which pods there are now: against the plain definition."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent.wire.naming import ContainerNaming
from db.documents.kubernetes_config import ProjectKubernetes
from tasks.decisions.pod_matching import PodClaim, PodClaims, pod_claim
from tasks.decisions.pod_reports import Coverage, Said, current_pods

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)
NAMES = st.lists(st.sampled_from(["shop", "api", "web", "2"]), min_size=1, max_size=4).map("-".join)
NAMESPACES = st.sampled_from(["a", "b"])
LABELS = st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), max_size=3)
CLAIMS = st.lists(
    st.tuples(st.none() | NAMESPACES, st.lists(NAMES, max_size=2, unique=True), LABELS), max_size=5
).map(
    lambda found: [
        PodClaim(f"p{number}", namespace, tuple((one, "-") for one in prefixes), labels)
        for number, (namespace, prefixes, labels) in enumerate(found)
    ]
)


@given(CLAIMS, NAMES, NAMESPACES, LABELS)
def test_index_answers_as_the_definition_does(claims, name, namespace, labels):
    there = [claim for claim in claims if claim.namespace in (None, namespace)]
    labelled = [claim for claim in there if claim.labels and claim.labels.items() <= labels.items()]
    named = [
        (-len(prefix), claim.project_id)
        for claim in there
        for prefix, separator in claim.prefixes
        if name == prefix or name.startswith(prefix + separator)
    ]
    if labelled:
        wanted = min((-len(claim.labels), claim.project_id) for claim in labelled)[1]
    else:
        wanted = min(named)[1] if named else None
    assert PodClaims(claims).owner_of(name, namespace, labels) == wanted


def test_a_project_claims_what_it_names():
    naming = ContainerNaming(prefix="shop")
    assert pod_claim("p", naming, None) == PodClaim("p", None, (("shop", "-"),))
    kubernetes = ProjectKubernetes(namespace="n", deployment="web", match_labels={"app": "x"})
    assert pod_claim("p", naming, kubernetes) == PodClaim(
        "p", "n", (("shop", "-"), ("web", "-")), {"app": "x"}
    )
    assert pod_claim("p", None, ProjectKubernetes()) == PodClaim("p", "default", ())


COVERAGES = st.builds(Coverage, st.none() | NAMESPACES, st.none() | st.just("x=1"), st.booleans())
PODS = st.lists(st.tuples(st.sampled_from("123456"), NAMESPACES), max_size=6, unique_by=lambda one: one[0])


@given(st.lists(st.tuples(COVERAGES, PODS), max_size=5))
def test_each_pod_is_as_the_newest_report_of_it_says(found):
    reports = [
        Said(
            coverage,
            NOON + timedelta(seconds=number),
            [
                {"uid": uid, "namespace": namespace}
                for uid, namespace in pods
                if coverage.namespace in (None, namespace)
            ],
        )
        for number, (coverage, pods) in enumerate(found)
    ]
    shown = {pod["uid"]: (pod, at) for pod, at in current_pods(reports)}
    assert len(shown) == len(list(current_pods(reports)))
    for uid in "123456":
        having = [(one.at, pod) for one in reports for pod in one.pods if pod["uid"] == uid]
        if not having:
            assert uid not in shown
            continue
        at, pod = max(having, key=lambda one: one[0])
        gone = any(one.at > at and one.coverage.tells_absence_in(pod["namespace"]) for one in reports)
        assert (uid in shown) is not gone
        assert gone or shown[uid] == (pod, at)
