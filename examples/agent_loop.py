"""Send the screenshots of a browser as a stream: each message holds only what changed.

python examples/agent_loop.py https://example.org

Needs pip install playwright, and Chromium. In a real agent, the decoder runs next to the model.
"""

import shutil
import sys

from playwright.sync_api import Page, sync_playwright

import codec

ACTIONS = ("look", "scroll", "type", "look again")


def act(page: Page, action: str) -> None:
    """Perform the model's next action; in this example, a fixed one."""
    if action == "scroll":
        page.mouse.wheel(0, 200)
    elif action == "type":
        page.keyboard.type("four")


encoder = codec.StreamEncoder(quality=50)
decoder = codec.StreamDecoder()
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
    page = browser.new_page(viewport={"width": 1456, "height": 819})
    page.goto(sys.argv[1])
    for action in ACTIONS:
        act(page, action)
        message = encoder.encode(page.screenshot())
        frame = decoder.decode(message)
        tokens = frame.changed_tokens((24, 24))
        print(f"{action}: {len(message)} bytes, {len(tokens)} of 576 tokens changed")
    browser.close()
