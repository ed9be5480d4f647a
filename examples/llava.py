"""Ask a LLaVA about a .ctm file.

python examples/llava.py llava-hf/llava-1.5-7b-hf photo.ctm "what is this"

Needs pip install 'cotam[mllm]'. The model comes from a folder or from the hub.
"""

import sys

import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration

import codec
from codec.integrations.transformers import attach

name, picture, question = sys.argv[1:4]
model = LlavaForConditionalGeneration.from_pretrained(name)
processor = AutoProcessor.from_pretrained(name)
# Every processor now accepts .ctm. If there is an adapter for the tower, tokens come from latents.
attach(model, codec.load(), processor)

inputs = processor(images=[picture], text=f"<image> {question}", return_tensors="pt")
with torch.inference_mode():
    output = model.generate(**inputs, max_new_tokens=20)
answer = output[0, inputs["input_ids"].shape[1] :]
print(f"answer: {processor.decode(answer, skip_special_tokens=True)}")
