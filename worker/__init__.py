"""comment-screener: comments on Kafka in, one explained decision a comment out."""

import os

# Before any library reads them. ONNX Runtime reports home unless told not to; comments of children are nobody's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
