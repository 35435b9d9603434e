"""The page in a headless Chromium: chat, stop, retry, experts, comparison, keyboard, a phone's width; no errors in the
console, nothing from elsewhere. QUORUM_SCREENSHOTS names a folder for pictures of what was seen."""

import json
import os
import pathlib
import re
import shutil
import time

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("QUORUM_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
PICTURES = os.environ.get("QUORUM_SCREENSHOTS")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture
def page(browser, base_url, request):
    """A page whose console and requests are watched to the end of the test."""
    options = getattr(request, "param", {})
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
    page = context.new_page()
    page.set_default_timeout(30_000)
    problems = []
    page.on("console", lambda message: (message.type in ("error", "warning") or "[DOM]" in message.text)
            and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda sent: sent.url.startswith((base_url, "data:")) or problems.append("foreign: " + sent.url))
    page.goto(base_url + "/")
    yield page
    if PICTURES:
        name = re.sub(r"\W+", "_", request.node.name)
        page.screenshot(path=str(pathlib.Path(PICTURES, name + ".png")))
    context.close()
    assert problems == []


def wait(page, condition):
    """Polls from here: the page's own policy forbids the eval that Playwright's wait_for_function needs."""
    deadline = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def letters(text):
    """What Markdown leaves as it is."""
    return re.sub(r"[^A-Za-z0-9]", "", text)


def say(page, text, limit="24"):
    page.locator("#settings").evaluate("node => { node.open = true; }")
    page.fill("#max-tokens", limit)
    page.fill("#temperature", "0")
    page.locator("#settings").evaluate("node => { node.open = false; }")
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_chat_and_retry(page):
    say(page, "Name the days of the week.")
    page.wait_for_selector(".meta")
    first = page.locator("#log .message.assistant").inner_text()
    assert first.strip()
    assert "tokens/s" in page.locator(".meta").inner_text()
    page.click("#retry")
    wait(page, "document.querySelectorAll('.meta').length === 1 && !document.querySelector('#retry').disabled")
    assert page.locator("#log .message.assistant").inner_text() == first  # greedy: the same again
    page.click("#clear")
    assert page.locator("#log").inner_text() == ""


def test_stop(page):
    say(page, "Count to a thousand.", "1800")
    wait(page, "document.querySelector('#log .message.assistant')?.innerText.length > 5")
    page.click("#send")
    wait(page, "document.querySelector('#send').textContent === 'Send'")
    assert "stopped" in page.locator(".meta").inner_text() or "tokens" in page.locator(".meta").inner_text()


def test_escape_stops(page):
    say(page, "Count to a thousand.", "1800")
    wait(page, "document.querySelector('#log .message.assistant')?.innerText.length > 5")
    page.focus("#clear")  # wherever the focus is
    page.keyboard.press("Escape")
    wait(page, "document.querySelector('#send').textContent === 'Send'")
    assert "stopped" in page.locator(".meta").inner_text() or "tokens" in page.locator(".meta").inner_text()


SIZES = [{"viewport": {"width": 1280, "height": 740}}, {"viewport": {"width": 360, "height": 740}}]
# The end of the conversation, and where the form begins that may cover it.
END = """(() => { const last = document.querySelector('#log').lastElementChild.getBoundingClientRect();
  const form = document.querySelector('#form').getBoundingClientRect();
  return last.top >= 0 && last.bottom <= form.top + 1 && form.bottom <= innerHeight + 1; })()"""


@pytest.mark.parametrize("page", SIZES, indirect=True)
def test_the_conversation_is_followed(page):
    for i in range(14):
        say(page, f"Message {i}", "6")
        wait(page, f"document.querySelectorAll('.meta').length === {i + 1}")
        assert page.evaluate(END), i
    # While a long reply grows its end stays in view, unless its reader has scrolled up.
    page.evaluate("""() => {
      const real = fetch, lines = (from, to) => Array.from({length: to - from}, (_, i) =>
        'data: ' + JSON.stringify({choices: [{delta: {content: `line ${from + i}\\n\\n`}}]}) + '\\n\\n').join('');
      window.fetch = (path, options) => path !== '/v1/chat/completions' ? real(path, options) :
        Promise.resolve(new Response(new ReadableStream({async start(out) {
          const send = text => out.enqueue(new TextEncoder().encode(text));
          send(lines(0, 40));
          while (!window.more) await new Promise(go => setTimeout(go, 10));
          send(lines(40, 80));
          if (window.more === 'error') send('data: {"error": {"message": "out of order"}}\\n\\n');
          out.close(); }})));
    }""")
    say(page, "Count")
    wait(page, "document.querySelector('#log').lastElementChild.innerText.includes('line 39')")
    assert page.evaluate(END.replace("last.top >= 0 && ", ""))
    page.evaluate("scrollTo({top: 0})")
    page.wait_for_timeout(100)
    page.evaluate("() => { window.more = true; }")
    wait(page, "document.querySelector('#log').innerText.includes('line 79') && !document.querySelector('#retry').disabled")
    assert page.evaluate("scrollY") == 0
    # Sending goes to the end again, and what went wrong is seen there.
    page.evaluate("() => { window.more = 'error'; document.querySelector('#text').value = 'Once more'; }")
    page.locator("#form").evaluate("form => form.requestSubmit()")
    page.wait_for_selector(".message.error")
    wait(page, "!document.querySelector('#retry').disabled")
    assert "out of order" in page.locator(".message.error").inner_text() and page.evaluate(END)


@pytest.mark.parametrize("page", SIZES + [{"viewport": {"width": 700, "height": 740}}], indirect=True)
def test_hints_fit_their_fields(page):
    page.locator("#settings").evaluate("node => { node.open = true; }")
    cut = page.evaluate("""() => [...document.querySelectorAll('#settings input[placeholder]')].filter(input => {
      const pen = document.createElement('canvas').getContext('2d'), style = getComputedStyle(input);
      pen.font = style.font;
      return input.offsetWidth && pen.measureText(input.placeholder).width >
        input.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight); }).map(input => input.id)""")
    assert cut == []


def test_experts_map(page):
    say(page, "Name the days of the week.")
    page.wait_for_selector(".meta")
    page.click("#tab-experts")
    page.wait_for_selector("#layers tbody tr")
    wait(page, "[...document.querySelectorAll('#layers tbody td')].some(cell => /^\\d+\\.\\d\\d$/.test(cell.textContent))")
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    assert re.search(r"Layer 0, expert 1: \d+ tokens", page.locator("#map-note").inner_text())
    page.locator("#map").hover(position={"x": 3, "y": 3})
    assert "Layer 0, expert 0" in page.locator("#map-note").inner_text()
    colors = page.evaluate("""() => { const c = document.querySelector('#map');
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const seen = new Set(); for (let i = 0; i < d.length; i += 4) seen.add(d[i] + ',' + d[i+1] + ',' + d[i+2]); return seen.size; }""")
    assert colors > 3


def test_experts_of_a_token(page):
    say(page, "Name the days of the week.", "12")
    page.wait_for_selector(".meta")
    reply = page.locator("#log .message.assistant")
    said = reply.inner_text()
    page.get_by_role("button", name="Experts by token").click()
    tokens = page.locator(".tokens .token")
    assert 1 < tokens.count() <= 12
    whole = [text for text in tokens.all_text_contents() if not text.startswith(("bytes:", "<|"))]  # not parts of characters
    assert letters("".join(whole)) == letters(said) != ""
    tip = page.locator("#tip")
    tokens.nth(1).hover()
    tip.wait_for(state="visible")
    lines = tip.inner_text().splitlines()
    assert lines and all(re.fullmatch(r"layer +\d+: \d+ \(\d\.\d\d\)(, \d+ \(\d\.\d\d\))*", line) for line in lines), lines
    box = tip.bounding_box()
    while box is None:  # the log scrolled under the mouse meanwhile, which takes the tip away
        page.mouse.move(0, 0)
        tokens.nth(1).hover()
        tip.wait_for(state="visible")
        box = tip.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1100
    if PICTURES:
        page.screenshot(path=str(pathlib.Path(PICTURES, "experts_of_a_token.png")))
    page.mouse.move(0, 0)
    tip.wait_for(state="hidden")
    tokens.nth(0).focus()
    tip.wait_for(state="visible")
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    wait(page, f"document.querySelector('#tip').textContent !== {json.dumps(first)} || document.activeElement.previousElementSibling")
    assert tip.is_visible()
    page.keyboard.press("Escape")
    tip.wait_for(state="hidden")
    page.get_by_role("button", name="Experts by token").click()
    assert reply.inner_text() == said


@pytest.mark.parametrize("change", [("#compare-top-k", "1"), ("#compare-mask", "0, 1:2")])
def test_compare_with_other_experts(page, change):
    page.click("#tab-compare")
    page.fill("#compare-max", "32")
    page.fill(*change)
    page.click("#compare-run")
    wait(page, "document.querySelector('#compare-note').textContent !== ''")
    note = page.locator("#compare-note").inner_text()
    left, right = page.locator("#compare-left").inner_text(), page.locator("#compare-right").inner_text()
    assert left and right and left != right
    assert re.match(r"The replies part after \d+ characters\.", note), note


def test_compare_says_what_is_wrong(page):
    page.click("#tab-compare")
    page.fill("#compare-mask", "three")
    page.click("#compare-run")
    wait(page, "document.querySelector('#compare-note').textContent !== ''")
    assert "no expert" in page.locator("#compare-note").inner_text()


def test_compare(page):
    page.click("#tab-compare")
    page.fill("#compare-max", "16")
    page.click("#compare-run")
    wait(page, "document.querySelector('#compare-note').textContent !== ''")
    assert page.locator("#compare-note").inner_text() == "Both replies are the same."
    assert page.locator("#compare-left").inner_text() == page.locator("#compare-right").inner_text() != ""


def test_keyboard_reaches_the_views(page):
    page.focus("#tab-chat")
    page.keyboard.press("ArrowRight")
    assert page.locator("#tab-compare").get_attribute("aria-selected") == "true"
    assert page.locator("#view-compare").is_visible() and not page.locator("#view-chat").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("#view-experts").is_visible()


@pytest.mark.parametrize("page", [{"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"}], indirect=True)
def test_a_phone_in_the_dark(page):
    say(page, "Hello")
    page.wait_for_selector(".meta")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
    page.click("#tab-compare")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_markdown_is_shown_and_never_runs(page):
    html = page.evaluate("""async () => {
      const {markdown} = await import('/page/markdown.js');
      const box = document.createElement('div');
      box.append(...markdown('# T\\n\\n**b** *i* `c<d` <img src=x onerror=alert(1)>\\n\\n- one\\n  - two\\n\\n```js\\nx < 1\\n```\\n\\n' +
        '|a|b|\\n|-|-|\\n|1|2|\\n\\n[l](https://example.org) [bad](javascript:alert(1))'));
      return box.innerHTML; }""")
    assert "<h2>T</h2>" in html and "<strong>b</strong>" in html and "<em>i</em>" in html and "<code>c&lt;d</code>" in html
    assert "<img" not in html and "&lt;img" in html
    assert "<ul><li>one<ul><li>two</li></ul></li></ul>" in html and "<pre><code>x &lt; 1</code></pre>" in html
    assert "<td>2</td>" in html and 'href="https://example.org"' in html and "javascript:" not in html.replace("[bad](javascript:alert(1))", "")
