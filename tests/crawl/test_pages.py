from avctl.crawl.pages import media_links, names_media

PAGE = """<html><head><base href="/media/"></head><body>
<a href="one.mp4">one</a> <a href="two.MP4?download=1#t=2">two</a> <a href="about.html">about</a> <a>nothing</a>
<video src="three"></video><video><source src="http://cdn.example/four.webm"><source src="one.mp4"></video>
<audio src="five.ogg"></audio><img src="six.jpg"><a href="javascript:play('x.mp4')">x</a><a href="blob:http://h/a.mp4">x</a>
<a href="http://user:pass@h/seven.mp4">x</a><a href="  eight.mov
">broken</a><a href="http://[::1/nine.mp4">unclosed"""


def test_links_to_media_are_found_once_and_in_order() -> None:
    assert media_links(PAGE, "http://example.com/films/index.html") == (
        "http://example.com/media/one.mp4",
        "http://example.com/media/two.MP4?download=1",
        "http://example.com/media/three",
        "http://cdn.example/four.webm",
        "http://example.com/media/five.ogg",
        "http://example.com/media/eight.mov",
    )


def test_only_the_path_of_a_link_says_that_it_is_media() -> None:
    page = '<a href="/?file=a.mp4">x</a><a href="/#a.mp4">y</a><a href="/a.WEBM?x=.txt">z</a>'
    assert media_links(page, "http://h/") == ("http://h/a.WEBM?x=.txt",)


def test_a_name_is_judged_by_its_end() -> None:
    assert names_media("A.MKV") and names_media("what? #1.mp4")
    assert not names_media("mp4") and not names_media("a.mp4.txt")
