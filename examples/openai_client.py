"""Ask a server with OpenAI's protocol about a picture.

python examples/openai_client.py http://127.0.0.1:8080/v1 MODEL photo.ctm "what is this"

Behind `cotam serve`, or with cotam installed in vLLM's environment, the server accepts the .ctm
file itself. For any other server, use format="webp" and fit="openai". Needs pip install openai; the
key is read from the environment variable OPENAI_API_KEY.
"""

import sys
from pathlib import Path

from openai import OpenAI

from codec.integrations.data_url import data_url

address, model, picture, question = sys.argv[1:5]
url = data_url(picture, format="ctm")
print(f"sending {len(url)} characters for {Path(picture).stat().st_size} bytes")
content = [
    {"type": "text", "text": question},
    {"type": "image_url", "image_url": {"url": url}},
]
answer = OpenAI(base_url=address).chat.completions.create(
    model=model, messages=[{"role": "user", "content": content}]
)
print(f"answer: {answer.choices[0].message.content}")
