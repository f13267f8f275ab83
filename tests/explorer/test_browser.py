"""What one does in the browser, on the demo model: each view, each key, each attack."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from lensscope.explorer.answers import merged
from lensscope.explorer.explorer import Explorer
from lensscope.explorer.questions import asked, key_of
from lensscope.explorer.serving import served
from tests.explorer import browser
from tests.explorer.asking import DIANA, JAPAN, run_python

EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
RIGHT_TO_LEFT = "اسم المدينة هو 東京 👩‍🚀"


@pytest.fixture(scope="module")
def shown(lab):
    """An explorer that is served, and the page's address."""
    explorer = Explorer(lab)
    with served(explorer.desk, explorer.about, port=0) as url:
        yield explorer, url


@pytest.fixture(scope="module")
def room(shown):
    """A browser."""
    with browser.browsing() as context:
        yield context


@pytest.fixture
def page(room, shown):
    """The explorer, opened anew; it may not complain of anything."""
    page = room.new_page()
    complaints = browser.watched(page)
    page.goto(shown[1])
    page.get_by_test_id("grid").wait_for()
    yield page
    page.close()
    assert complaints == []


@pytest.fixture
def kept(request):
    """Pictures are kept where one is told to, to be looked at."""
    folder = os.environ.get("LENSSCOPE_PICTURES")

    def keep(page, name):
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=f"{folder}/{name}.png")

    return keep


def holds(locator, text):
    """Wait until an element has a text in it."""
    from playwright.sync_api import expect

    expect(locator).to_contain_text(text, timeout=browser.WAIT)


def cell(page, layer, position):
    return page.get_by_test_id(f"cell-{layer}-{position}").first


def said(page, reader="raw", condition="state"):
    """A text of the table of words, once it is whole."""
    where = f'[data-testid="words-table"] td[data-reader="{reader}"][data-condition="{condition}"]'
    found = page.locator(where)
    page.wait_for_function(
        """where => {
          const td = document.querySelector(where);
          return td && td.textContent.trim() && !td.querySelector('.lsx-caret, .lsx-skeleton');
        }""",
        arg=where,
    )
    return found.inner_text().strip()


def view(page, name):
    page.get_by_role("navigation", name="Views").get_by_role("button", name=name).click()


def copied_python(page):
    """The lines that the page copies."""
    page.get_by_test_id("copy-python").click()
    code = page.get_by_test_id("python-code").inner_text()
    page.get_by_role("button", name="Close").last.click()
    return code


def run_prompt(page, text):
    page.get_by_test_id("prompt-box").first.fill(text)
    page.keyboard.press("Enter")


# ---------------------------------------------------------------- the grid


def test_a_cell_says_what_readers_lenses_and_controls_say(
    page, shown, kept, demo_at_hand, few_tokens
):
    run_prompt(page, JAPAN)
    holds(cell(page, 29, 7), "Tokyo")
    cell(page, 20, 3).click()
    explorer = shown[0]
    inspection = explorer.about["state"]["inspection"]
    where = {"prompt": JAPAN, "position": 3, "layer": 20}
    for reader in ("raw", "tuned"):
        for condition in ("state", "nothing", "random", "mean", "shuffled"):
            assert said(page, reader, condition)
    answer = explorer_answer(shown, {"kind": "words", **where, "inspection": inspection})
    for one in answer["said"]:
        assert one["text"].strip() in said(page, one["reader"], one["condition"])
    for lens in ("logit", "affine", "token-identity"):
        assert page.get_by_test_id(f"lens-{lens}").locator("li").count() == 5
    kept(page, "explorer-grid")
    # by keyboard: one layer down, one token on
    cell(page, 20, 3).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name=re.compile("layer 19")).wait_for()
    assert said(page, "tuned", "random")
    # copied as Python, it runs and says the same
    names, _ = run_python(copied_python(page))
    texts = names["found"].frame().set_index("condition")["text"]
    assert texts["state"].strip() == said(page, "tuned").split("\n")[0]
    assert texts["mean"].strip() in said(page, "tuned", "mean")


def explorer_answer(shown, question):
    """The answer that the server gave, from what it keeps."""
    return merged(shown[0].desk.kept.get(key_of(asked(question))))


def test_lenses_colours_and_the_quiz_by_keys(page):
    page.get_by_test_id("grid").locator("[role=gridcell]").first.wait_for()
    cell(page, 29, 2).click()
    page.keyboard.press("l")
    assert page.get_by_label("Lens").first.input_value() == "affine"
    page.keyboard.press("k")
    assert page.get_by_label("Colour").input_value() == "entropy"
    page.keyboard.press("q")
    assert "?" in cell(page, 27, 2).inner_text()
    cell(page, 27, 2).click()
    assert page.get_by_test_id("words-table").count() == 0
    page.get_by_test_id("side-panel").get_by_role("button", name="Reveal").first.click()
    page.get_by_test_id("words-table").wait_for()
    assert "?" not in cell(page, 27, 2).inner_text()
    page.get_by_role("button", name="Hide again").click()
    assert "?" in cell(page, 27, 2).inner_text()


def test_an_inspection_prompt_is_edited_with_its_tokens(page, kept):
    page.get_by_text("Inspection prompt", exact=True).first.click()
    box = page.get_by_test_id("inspection-text")
    box.fill("The largest city in x")
    tokens = page.get_by_test_id("inspection-tokens")
    tokens.locator(".lsx-written").wait_for()
    assert tokens.locator(".lsx-written").inner_text().split()[0].strip("·") == "x"
    box.fill("The largest city of all")
    page.locator("#root, .lsx").get_by_role("alert").first.wait_for()
    box.fill("The largest city in x is")
    tokens.locator(".lsx-written").wait_for()
    cell(page, 20, 4).click()
    assert said(page, "raw", "random")
    kept(page, "inspection")


def test_a_conversation_is_read_by_message(page):
    page.get_by_role("button", name="Chat").first.click()
    page.get_by_role("textbox", name="Message 1").fill("Where is Rome?")
    page.get_by_test_id("run").click()
    page.locator(".lsx-group").first.wait_for(state="attached")  # by message
    page.get_by_test_id("grid").evaluate("grid => { grid.scrollLeft = 1e6 }")
    page.locator('[role=columnheader]:has-text("Rome")').first.wait_for()
    assert "user" in page.locator(".lsx-group").all_inner_texts()


# ---------------------------------------------------------------- patches


def test_a_state_is_dragged_into_another_prompt(page, kept, demo_at_hand):
    view(page, "Patch")
    a, b = (page.get_by_test_id(f"patch-grid-{n}") for n in (0, 1))
    source = a.get_by_test_id("cell-12-3")
    source.wait_for()
    b.get_by_test_id("cell-12-3").wait_for()
    source.drag_to(b.get_by_test_id("cell-12-3"))
    result = page.get_by_test_id("patch-result-1")
    result.wait_for()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=patch-result-1]').textContent.includes('Tokyo')"
    )
    assert page.locator("svg path").count() >= 1
    assert page.get_by_test_id("patch-list").locator("tbody tr").count() == 1
    kept(page, "explorer-patch")
    page.wait_for_function("() => !document.querySelector('[data-testid=stop]')")
    _, printed = run_python(copied_python(page))
    assert "Tokyo" in printed
    # by keyboard: copy, go to the other grid, write; then take it away again
    a.get_by_test_id("cell-10-1").focus()
    page.keyboard.press("c")
    b.get_by_test_id("cell-10-1").focus()
    page.keyboard.press("v")
    assert page.get_by_test_id("patch-list").locator("tbody tr").count() == 2
    page.get_by_label("Patch 2: how").select_option("add")
    page.get_by_label(re.compile("Patch 2.*from: layer")).first.fill("4")
    page.keyboard.press("Tab")
    b.get_by_test_id("cell-10-1").focus()
    page.keyboard.press("Delete")
    assert page.get_by_test_id("patch-list").locator("tbody tr").count() == 1


# ---------------------------------------------------------------- where it matters


def test_a_map_fills_with_what_was_run_and_opens_in_words(page, kept):
    view(page, "Where it matters")
    page.get_by_role("button", name="Run").first.click()
    found = page.get_by_test_id("matters-map")
    found.wait_for()
    page.wait_for_function("() => !document.querySelector('[data-testid=stop]')")
    assert "≈" not in found.inner_text()
    assert "0.89" in found.get_by_test_id("cell-29-7").inner_text()
    found.get_by_test_id("cell-12-3").click()
    assert said(page, "tuned", "random")
    kept(page, "explorer-matters")
    page.get_by_role("button", name="Circuit").click()
    page.get_by_test_id("circuit").wait_for()
    page.get_by_text(re.compile(r"alone bring back|bring back")).first.wait_for()
    kept(page, "circuit")


# ---------------------------------------------------------------- steps


def test_words_come_token_by_token(page, kept):
    cell(page, 15, 8).click()
    page.get_by_role("button", name="Step through this").click()
    button = page.get_by_test_id("step-next")
    page.locator("[data-testid=step-next]:not([disabled])").wait_for()
    button.click()
    page.keyboard.press("ArrowRight")
    assert page.get_by_test_id("step-said").locator("button").count() == 2
    page.keyboard.press("ArrowLeft")
    assert page.get_by_test_id("step-said").locator("button").count() == 1
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_text("With nothing written it says").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.lsx-layer-says').length === 30")
    kept(page, "explorer-step")


# ---------------------------------------------------------------- what is kept


def test_a_link_a_file_and_a_page_give_the_same_view(page, room, shown, tmp_path, kept):
    run_prompt(page, DIANA)
    cell(page, 12, 8).click()
    words = said(page, "tuned")
    assert said(page, "raw", "random")
    page.wait_for_function("() => !document.querySelector('[data-testid=stop]')")
    page.get_by_test_id("copy-link").click()
    link = page.evaluate("navigator.clipboard.readText()")
    other = room.new_page()
    other.goto(link)
    other.get_by_role("heading", name=re.compile("layer 12")).wait_for()
    assert said(other, "tuned") == words
    with page.expect_download() as saved:
        page.get_by_test_id("save").click()
    saved.value.save_as(tmp_path / "talk.json")
    held = json.loads((tmp_path / "talk.json").read_text("utf-8"))
    assert held["about"]["model"]["fingerprint"] == shown[0].about["model"]["fingerprint"]
    assert held["state"]["cell"] == {"layer": 12, "position": 8}
    with page.expect_download() as exported:
        page.get_by_test_id("export").click()
    exported.value.save_as(tmp_path / "talk.html")
    # the saved file, opened again in another tab
    other.get_by_role("button", name="Step").first.click()
    other.locator("input[type=file]").set_input_files(tmp_path / "talk.json")
    other.get_by_role("heading", name=re.compile("layer 12")).wait_for()
    other.close()
    # the page, from a disk and without a network, wide and on a phone
    for width in (1360, 390):
        size = {"width": width, "height": 844}
        alone = browser.window(room.browser, offline=True, viewport=size)
        offline = alone.new_page()
        complaints = browser.watched(offline)
        asked = []
        offline.on("request", lambda request, asked=asked: asked.append(request.url))
        offline.goto((tmp_path / "talk.html").as_uri())
        offline.get_by_role("heading", name=re.compile("layer 12")).first.wait_for()
        assert said(offline, "tuned") == words
        kept(offline, f"recorded-{width}")
        assert complaints == []
        assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert offline.evaluate(overflow) <= 1
        alone.close()


# ---------------------------------------------------------------- everybody


def settle(page, name):
    """A view with something in it."""
    view(page, name)
    if name == "Where it matters":
        page.get_by_role("button", name="Run").first.click()
        page.get_by_test_id("matters-map").wait_for()
    page.wait_for_function("() => !document.querySelector('[data-testid=stop]')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_stands_in_anybodys_way(page, theme, kept):
    page.get_by_test_id("theme").select_option(theme)
    if theme == "dark":
        page.get_by_test_id("presenter").click()
    for name in ("Grid", "Patch", "Where it matters", "Step"):
        settle(page, name)
        kept(page, f"{theme}-{name}")
        assert browser.violations(page) == [], name
    page.get_by_role("button", name="Keys").click()
    assert browser.violations(page) == []
    page.keyboard.press("Escape")


def test_tokens_of_any_script_stay_in_their_cells(page, kept):
    run_prompt(page, RIGHT_TO_LEFT)
    page.locator('[role=columnheader] bdi:has-text("ا")').first.wait_for()
    kept(page, "scripts")
    directions = page.evaluate(
        """() => [...document.querySelectorAll('[role=columnheader] bdi')].map(
             bdi => getComputedStyle(bdi).unicodeBidi)"""
    )
    assert set(directions) <= {"isolate", "isolate-override", "plaintext"}


def test_presenter_mode_is_large(page):
    page.get_by_test_id("presenter").click()
    page.locator(".lsx-presenter").wait_for()
    size = "parseFloat(getComputedStyle(document.querySelector('{}')).fontSize)"
    assert page.evaluate(size.format(".lsx-body")) >= 20
    assert page.evaluate(size.format("[role=gridcell]")) >= 18


# ---------------------------------------------------------------- those who mean harm


def test_markup_is_text_wherever_it_comes_from(page, shown, monkeypatch):
    run_prompt(page, EVIL)
    page.locator('[role=columnheader]:has-text("img")').first.wait_for()
    cell(page, 20, 2).click()
    assert said(page, "raw", "random")
    page.get_by_text("Inspection prompt", exact=True).first.click()
    page.get_by_test_id("inspection-text").fill(f"{EVIL} x")
    page.get_by_test_id("inspection-tokens").locator(".lsx-written").wait_for()
    # a link that was made by somebody else
    state = {
        **shown[0].about["state"],
        "prompt": EVIL,
        "view": "javascript:alert(3)",
        "theme": EVIL,
    }
    import base64

    text = base64.urlsafe_b64encode(json.dumps(state).encode()).decode().rstrip("=")
    page.goto(f"{shown[1]}#{text}")
    page.reload()
    page.get_by_test_id("grid").wait_for()
    assert page.locator("img").count() == 0
    assert page.evaluate("document.querySelectorAll('script').length") == 1


def test_another_page_can_neither_ask_nor_read(room, shown, tmp_path):
    (tmp_path / "evil.html").write_text("<p>evil</p>")
    page = room.new_page()
    page.goto((tmp_path / "evil.html").as_uri())
    tries = """async url => {
      const found = [];
      for (const options of [{}, {method: 'POST', body: '{}', headers: {'X-Lensscope': 'explorer'}},
                             {method: 'POST', body: '{}', mode: 'no-cors'}]) {
        try {
          const answer = await fetch(url, options);
          found.push(answer.type === 'opaque' ? 'opaque' : await answer.text());
        } catch (error) { found.push('refused'); }
      }
      return found;
    }"""
    assert page.evaluate(tries, shown[1] + "ask") == ["refused", "refused", "refused"]
    page.close()


def test_fifty_clicks_a_second_end_with_the_last(page):
    first = cell(page, 28, 1)
    first.wait_for()
    page.evaluate(
        """async () => {
          const cells = [...document.querySelectorAll('[data-testid=grid] [role=gridcell]')];
          for (let n = 0; n < 100; n++) {
            cells[(n * 7) % cells.length].click();
            await new Promise(done => setTimeout(done, 20));
          }
        }"""
    )
    cell(page, 26, 2).click()
    page.get_by_role("heading", name=re.compile("layer 26")).wait_for()
    assert said(page, "tuned", "random")


def test_a_tab_that_is_closed_leaves_the_server_free(room, shown):
    page = room.new_page()
    page.goto(shown[1])
    page.get_by_test_id("grid").wait_for()
    view(page, "Where it matters")
    page.get_by_role("textbox", name="Clean").fill("The president of France lives in")
    page.get_by_role("textbox", name="Corrupted").fill("The president of Japan lives in")
    page.get_by_role("button", name="Run").first.click()
    page.wait_for_timeout(300)
    page.close()
    other = room.new_page()
    other.goto(shown[1])
    run_prompt(other, "A new prompt")
    other.locator('[role=columnheader]:has-text("new")').first.wait_for(timeout=20_000)
    other.close()


def test_a_server_that_has_gone_is_said_to_be_gone(lab, room):
    explorer = Explorer(lab)
    with served(explorer.desk, explorer.about, port=0) as url:
        page = room.new_page()
        page.goto(url)
        page.get_by_test_id("grid").locator("[role=gridcell]").first.wait_for()
    run_prompt(page, "Is anybody there")
    page.get_by_text("does not answer").first.wait_for()
    page.close()


def test_two_hundred_tokens_scroll(page):
    run_prompt(page, "The quick brown fox jumps over the lazy dog. " * 21)
    page.wait_for_function(
        "() => document.querySelector('[role=grid]')?.getAttribute('aria-colcount') > 199"
    )
    columns = int(page.get_by_test_id("grid").get_attribute("aria-colcount"))
    assert page.get_by_test_id("grid").locator("[role=gridcell]").count() < 1_500  # what is seen
    page.get_by_test_id("grid").evaluate("grid => { grid.scrollLeft = 1e6 }")
    cell(page, 29, columns - 2).wait_for()
