"""What is around the drawing of dashboards: the page that is drawn, what it says, and how its picture is kept small."""

import random
from io import BytesIO
from pathlib import Path

from PIL import Image

from deploy.verify.pictures import Drawn, page_of, small, what_was_drawn


def test_a_picture_keeps_its_size_and_its_colours_and_gets_a_palette() -> None:
    image = Image.frombytes("RGB", (160, 100), random.Random(1).randbytes(3 * 160 * 100))
    image.paste((242, 73, 92), (0, 0, 160, 90))
    png = BytesIO()
    image.save(png, "PNG")
    drawn = Image.open(BytesIO(small(png.getvalue())))
    assert drawn.size == (160, 100)
    assert drawn.mode == "P"
    assert drawn.convert("RGB").getpixel((80, 50)) == (242, 73, 92)
    assert len(small(png.getvalue())) < len(png.getvalue())


def test_a_text_in_the_answers_cannot_end_the_script() -> None:
    page = page_of({"dashboard": {"title": "a < b"}, "answers": ["</script><b>"]}, Path("/cache/page.js"))
    assert page.count("</script>") == 2
    assert "<title>a &lt; b</title>" in page
    assert "file:///cache/page.css" in page


def test_what_the_page_says_is_found_among_what_chromium_says() -> None:
    said = (
        "[1:2:ERROR:dbus] no bus\n"
        '[1:2:INFO:CONSOLE(7)] "DRAWN {"panels":2,"empty":["Trouble"],"failed":["Odd \\"one\\": no way"]}", source: x (7)\n'
    )
    assert what_was_drawn(said) == Drawn(panels=2, empty=["Trouble"], failed=['Odd "one": no way'])
    assert what_was_drawn("[1:2:ERROR:dbus] no bus\n") is None
