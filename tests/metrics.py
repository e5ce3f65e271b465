"""What /metrics says, as numbers."""

from prometheus_client.parser import text_string_to_metric_families


def read_metrics(client):
    """Every sample of /metrics by its name and its labels' values, in alphabetical order of the labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return samples_of(answer.text)


def samples_of(text):
    """The same, of a text. Nothing is said twice."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found
