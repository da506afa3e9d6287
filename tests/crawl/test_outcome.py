from avctl.crawl.outcome import FetchFailure


def test_a_failure_is_for_good_unless_it_says_otherwise() -> None:
    assert not FetchFailure("http_status", "404").is_passing
    assert str(FetchFailure("http_status", "404")) == "http_status: 404"
