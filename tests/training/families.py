"""Chat templates of our own that behave as those of the families do: what they insert, trim, drop and refuse."""

from __future__ import annotations

from typing import Any

_TOOLS = "{% if tools %}{{ '# Tools\\n' }}{% for tool in tools %}{{ tool | tojson + '\\n' }}{% endfor %}{% endif %}"
_CALLS = (
    "{% for call in m.tool_calls or [] %}{{ '\\n<tool_call>\\n' + ({'name': call.function.name, 'arguments': "
    "call.function.arguments} | tojson) + '\\n</tool_call>' }}{% endfor %}"
)
_CHATML_END = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

# A default system prompt where none is given; tools in the system message; results as turns of the user.
QWEN25 = (
    "{{ '<|im_start|>system\\n' }}{% if messages[0].role == 'system' %}{{ messages[0].content }}"
    "{% else %}{{ 'you are a kind assistant' }}{% endif %}{{ '\\n' }}" + _TOOLS + "{{ '<|im_end|>\\n' }}"
    "{% for m in messages %}{% if m.role == 'user' or (m.role == 'system' and not loop.first) %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% elif m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' + (m.content or '') }}"
    + _CALLS
    + "{{ '<|im_end|>\\n' }}"
    "{% elif m.role == 'tool' %}{{ '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}"
    "{% endif %}{% endfor %}" + _CHATML_END
)
# Reasoning is kept after the last question and dropped before it; without any an empty block is written.
QWEN3 = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}"
    "{% if messages[0].role == 'system' or tools %}{{ '<|im_start|>system\\n' }}{% if messages[0].role == 'system' %}"
    "{{ messages[0].content + '\\n' }}{% endif %}" + _TOOLS + "{{ '<|im_end|>\\n' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<|im_start|>user\\n' + m.content + '<|im_end|>\\n' }}"
    "{% elif m.role == 'assistant' %}{% set content = m.content or '' %}{% set reason = m.reasoning_content or '' %}"
    "{% if not reason and '</think>' in content %}"
    "{% set reason = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "{{ '<|im_start|>assistant\\n' }}{% if loop.index0 > ns.last and (loop.last or reason) %}"
    "{{ '<think>\\n' + reason.strip('\\n') + '\\n</think>\\n\\n' }}{% endif %}{{ content.lstrip('\\n') }}"
    + _CALLS
    + "{{ '<|im_end|>\\n' }}"
    "{% elif m.role == 'tool' %}{{ '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}"
    "{% endif %}{% endfor %}" + _CHATML_END
)
# Headers; the date in the system message; contents trimmed; one tool call a turn, as an object.
LLAMA31 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set said = messages[0].content | trim %}"
    "{% set rest = messages[1:] %}{% else %}{% set said = '' %}{% set rest = messages %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + strftime_now('%d %b %Y') + '\\n\\n' + said }}"
    + _TOOLS
    + "{{ '<|eot_id|>' }}{% for m in rest %}{% if m.role == 'tool' %}"
    "{{ '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + (m.content | tojson) + '<|eot_id|>' }}"
    "{% elif m.tool_calls %}{% if m.tool_calls | length != 1 %}{{ raise_exception('one tool call at a time') }}{% endif %}"
    "{% set call = m.tool_calls[0].function %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' + "
    "({'name': call.name, 'parameters': call.arguments} | tojson) + '<|eot_id|>' }}"
    "{% else %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
# Roles must alternate; the system prompt joins the first question; answers are trimmed; calls stand without a space.
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set said = messages[0].content + '\\n\\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set said = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if loop.first and m.role != 'user' %}{{ raise_exception('the user begins') }}{% endif %}"
    "{% if m.role == 'user' %}{% if tools %}{{ '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{% endif %}"
    "{{ '[INST] ' + (said if loop.first else '') + m.content + ' [/INST]' }}"
    "{% elif m.role == 'tool' %}{{ '[TOOL_RESULTS] ' + ({'content': m.content} | tojson) + '[/TOOL_RESULTS]' }}"
    "{% elif m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for call in m.tool_calls %}{{ {'name': call.function.name, "
    "'arguments': call.function.arguments} | tojson }}{% endfor %}{{ ']' + eos_token }}"
    "{% else %}{{ ' ' + m.content | trim + eos_token }}{% endif %}{% endfor %}"
)
# Reasoning is dropped from every past answer, and every new one opens with it; a call's arguments are joined as text.
DEEPSEEK_R1 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' and m.tool_calls %}{{ '<｜Assistant｜>' }}{% for call in m.tool_calls %}"
    "{{ '<｜call｜>' + call.function.name + '\\n```json\\n' + call.function.arguments + '\\n```' }}{% endfor %}"
    "{{ '<｜end▁of▁sentence｜>' }}"
    "{% elif m.role == 'tool' %}{{ '<｜output｜>' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + (m.content.split('</think>') | last) + '<｜end▁of▁sentence｜>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}"
)

TEMPLATES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Qwen2.5": (QWEN25, "<|im_end|>", {}),
    "Qwen3": (QWEN3, "<|im_end|>", {}),
    "Llama 3.1": (LLAMA31, "<|eot_id|>", {"bos_token": "<|begin_of_text|>"}),
    "Mistral": (MISTRAL, "</s>", {"bos_token": "<s>"}),
    "DeepSeek-R1": (DEEPSEEK_R1, "<｜end▁of▁sentence｜>", {"bos_token": "<｜begin▁of▁sentence｜>"}),
}
