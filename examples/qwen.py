"""Ask a Qwen2.5-VL about a .ctm file through its chat template.

python examples/qwen.py Qwen/Qwen2.5-VL-3B-Instruct photo.ctm "what is this"

Needs pip install 'cotam[mllm]'. The model comes from a folder or from the hub.
"""

import sys

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from codec.integrations.transformers import register

name, picture, question = sys.argv[1:4]
register()  # every processor and chat template now accepts .ctm
model = AutoModelForImageTextToText.from_pretrained(name)
processor = AutoProcessor.from_pretrained(name)

content = [{"type": "image", "path": picture}, {"type": "text", "text": question}]
inputs = processor.apply_chat_template(
    [{"role": "user", "content": content}],
    add_generation_prompt=True,
    tokenize=True,
    return_dict=True,
    return_tensors="pt",
)
with torch.inference_mode():
    output = model.generate(**inputs, max_new_tokens=20)
answer = output[0, inputs["input_ids"].shape[1] :]
print(f"answer: {processor.decode(answer, skip_special_tokens=True)}")
