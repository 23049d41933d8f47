"""Programs that run inside pods, in the image's own Python, mounted from a ConfigMap.

The operator imports none of them. They are run as `python3 -m podscripts.NAME` in the folder above the
mounted one, and import one another, the standard library (3.10) and `huggingface_hub`: nothing else is there.
Only who converts a dataset asks for pandas, and who brings the data of tasks for lm-eval. What calibrates
and verifies does without `huggingface_hub` too.
"""
