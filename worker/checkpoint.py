"""The torch classifier: any sequence classifier as transformers saves it, in a folder or on a hub. On a GPU where there is one.

Only `worker.loading` imports this, and only for a model that asks for it: torch is an extra. Weights are safetensors and
nothing else, since a pickle may run what it likes, and no code that a model brings is ever run.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from worker.batching import CPU_TOKENS, GPU_TOKENS
from worker.classifier import Found, Piece
from worker.cores import usable_cores
from worker.errors import StartupError, TransientError
from worker.files import MIB, check_size, read_json
from worker.hub import fetch
from worker.model_source import folder_of, on_hub
from worker.outputs import columns_of, describe, is_multi_label, read_label_map, scores_of
from worker.records import Model
from worker.tokenizer import CPU_STEP, GPU_STEP, LARGEST, MAX_PIECE_TOKENS, Tokenizer

try:
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging
except ImportError as error:
    raise StartupError(
        f"SCREENER_MODEL: a model without model.onnx needs {error.name}: pip install -e '.[torch]'"
    ) from error

from worker.fixed_shapes import CPU_ROWS, FixedShapes

Precision = Literal["float32", "half"]
Device = Literal["cpu", "cuda"]

_WEIGHTS: Final = "*.safetensors"
_LARGEST_WEIGHTS: Final = 16384 * MIB
"""Of one file; larger models lie in several."""
_LARGEST_VOCABULARY: Final = LARGEST["tokenizer.json"]
_HASHED: Final = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
_VOCABULARY: Final = "*.model"
_UNNAMED: Final = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}
"""transformers leaves them out of `config.json` where there are two outputs and nobody named them."""
_HEADS: Final = ("classifier", "classification_head", "score")
"""What transformers calls the last layers of its classifiers."""
_WORKSPACE: Final = ":4096:8"
"""With a workspace of this size cuBLAS does the same each time."""


def open_checkpoint(
    model: str, *, threads: int = 0, batch_tokens: int | None = None, label_map: Mapping[str, str] | None = None
) -> "TorchClassifier":
    """The checkpoint that a model's name stands for, fetched where it lies on a hub. Errors as in `TorchClassifier`."""
    options: dict[str, Any] = {"threads": threads, "batch_tokens": batch_tokens, "label_map": label_map}
    source = on_hub(model)
    if source is None:
        return TorchClassifier(folder_of(model), **options)
    fetched = fetch(source)
    return TorchClassifier(fetched.folder, name=source.name, version=fetched.commit, **options)


class TorchClassifier:
    """A transformer on torch. It scores, and points at nothing.

    Args:
        folder: `config.json` with `id2label`, weights as safetensors, a fast tokenizer or what one can be made of.
        threads: runs at once on a CPU, of one thread each; 0 means one per CPU that this process may use. A GPU has one.
        batch_tokens: padded tokens in one run at most; on a GPU each run has as many. None: what suits the device.
        label_map: the model's label names to ours; None reads `labels.json` in the folder, where there is one.
        name: what decisions call it; None: what `config.json` says (`screener`), else the folder's name.
        version: likewise.
        device: None: a GPU where there is one.
        precision: `half` is bfloat16, or float16 on a GPU without it, for all but the last layers. None: half on a GPU,
            float32 on a CPU.

    Attributes:
        device: `cpu` or `cuda`.
        precision: torch's name of the type that it computes in.

    Raises:
        StartupError: anything in the folder that does not fit, in one line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 0,
        batch_tokens: int | None = None,
        label_map: Mapping[str, str] | None = None,
        name: str | None = None,
        version: str | None = None,
        device: Device | None = None,
        precision: Precision | None = None,
    ) -> None:
        check_files(folder)
        config = _UNNAMED | read_json(folder / "config.json")
        if label_map is None and (folder / "labels.json").is_file():
            label_map = read_label_map(folder / "labels.json")
        self._columns = columns_of(config, label_map, folder)
        self.labels = tuple(self._columns)
        self._multi_label = is_multi_label(config)

        self.device: Device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = _dtype(self.device, precision or ("half" if self.device == "cuda" else "float32"))
        self.precision = str(dtype).removeprefix("torch.")
        self.model = _describe(folder, config, label_map, self.precision, name=name, version=version)

        on_gpu = self.device == "cuda"
        self.runs_at_once = 1 if on_gpu else threads or usable_cores()
        self.batch_tokens: int = batch_tokens or (GPU_TOKENS if on_gpu else CPU_TOKENS)
        _compute_the_same_each_time()
        model = _load(folder)
        if (last := max(self._columns.values())) >= model.config.num_labels:
            raise StartupError(
                f"{folder}: it has {model.config.num_labels} outputs, and config.json names output {last}"
            )
        self._tokenizer = Tokenizer(folder, _readable_tokens(model), width_step=GPU_STEP if on_gpu else CPU_STEP)
        vocabulary = model.get_input_embeddings().num_embeddings
        if self._tokenizer.size > vocabulary:
            # The first comment with such a token would take a GPU out of service for the whole process.
            raise StartupError(f"{folder}: its tokenizer has {self._tokenizer.size} tokens, the model {vocabulary}")
        # The model's own idea of padding: some count positions by it, others look for the end of a text.
        if (pad := model.config.pad_token_id) is None:
            raise StartupError(f"{folder}: config.json names no pad_token_id, so texts cannot share a run")
        self._shapes = FixedShapes(
            _in_precision(model, dtype).to(self.device),
            torch.device(self.device),
            pad=pad,
            rows=lambda width: max(1, self.batch_tokens // width) if on_gpu else CPU_ROWS,
        )
        if on_gpu:
            end = getattr(model.config, "eos_token_id", None)
            self._settle(folder, vocabulary, end if isinstance(end, int) else None)

    def encode(self, texts: Sequence[str]) -> list[list[Piece]]:
        return self._tokenizer.encode(texts)

    def width(self, piece: Piece) -> int:
        return self._tokenizer.width(piece)

    def score(self, pieces: Sequence[Piece]) -> list[Found]:
        logits = self._shapes.logits(pieces, max(map(self.width, pieces)))
        return [Found(scores) for scores in scores_of(logits, self._columns, multi_label=self._multi_label)]

    def _settle(self, folder: Path, vocabulary: int, end: int | None) -> None:
        try:
            self._shapes.settle(self._tokenizer.widths(), vocabulary, end)
        except TransientError as error:
            raise StartupError(f"{folder}: no memory for a run of SCREENER_MAX_BATCH_TOKENS on this GPU") from error
        except (RuntimeError, ValueError) as error:
            raise StartupError(f"{folder}: does not run on this GPU: {str(error).partition(chr(10))[0]}") from error


def check_files(folder: Path) -> None:
    """Whether it is a checkpoint of which everything can be read safely. Raises StartupError."""
    if not (folder / "config.json").is_file():
        raise StartupError(f"SCREENER_MODEL: {folder} has no config.json")
    weights = sorted(folder.glob(_WEIGHTS))
    if not weights:
        pickled = any(folder.glob("pytorch_model*.bin"))
        why = (
            ": pytorch_model.bin is a pickle, which may run code; save it again with save_pretrained" if pickled else ""
        )
        raise StartupError(f"SCREENER_MODEL: {folder} has no weights as safetensors{why}")
    for file in weights:
        check_size(file, _LARGEST_WEIGHTS)
    for name in _HASHED:
        check_size(folder / name, LARGEST.get(name, _LARGEST_VOCABULARY))


def _describe(
    folder: Path,
    config: Mapping[str, Any],
    label_map: Mapping[str, str] | None,
    precision: str,
    *,
    name: str | None,
    version: str | None,
) -> Model:
    """The hash covers the precision too: half of it gives other scores, so what it decides needs another id."""
    files = [*_HASHED, *sorted(file.name for kind in (_VOCABULARY, _WEIGHTS) for file in folder.glob(kind))]
    about = describe(folder, files, config, label_map)
    digest = sha256(f"{about.sha256} {precision}".encode())
    return Model(name or about.name, version or about.version, digest.hexdigest())


def _load(folder: Path) -> Any:
    """The model for inference, in float32. Weights that it lacks would be made up; they are refused instead."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:
        raise StartupError(f"{folder}: its weights do not load: {' '.join(str(error).split())}") from error
    if missing := sorted({str(name) for name in loading["missing_keys"]}):
        raise StartupError(f"{folder}: no weights for {', '.join(missing)}: is it a sequence classifier?")
    return model.eval()


def _readable_tokens(model: Any) -> int:
    """How many tokens it reads at once. RoBERTa and its kin count positions from behind the padding token's number on."""
    positions = getattr(model.config, "max_position_embeddings", None) or MAX_PIECE_TOKENS
    return min([positions if positions > 0 else MAX_PIECE_TOKENS, *_positions_behind_padding(model)])


def _positions_behind_padding(model: Any) -> Iterator[int]:
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            yield module.num_embeddings - module.padding_idx - 1


def _dtype(device: Device, precision: Precision) -> torch.dtype:
    if precision == "float32":
        return torch.float32
    return torch.bfloat16 if device == "cpu" or torch.cuda.is_bf16_supported(False) else torch.float16


def _in_precision(model: Any, dtype: torch.dtype) -> Any:
    """All but the last layers in it: what they tell apart by little is what thresholds are compared with."""
    for name, child in model.named_children():
        if name in _HEADS:
            child.register_forward_pre_hook(lambda _, inputs: tuple(each.float() for each in inputs))
        else:
            child.to(dtype)
    return model


def _compute_the_same_each_time() -> None:
    """Settings of the whole process. What torch cannot do in one way only is an error, and no verdict."""
    # Read when the first product is computed.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _WORKSPACE)
    torch.use_deterministic_algorithms(True)
    # Filling what is written over anyway costs time and tells nobody anything.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # It tries several kernels on the first inputs of a shape, and takes whichever was faster that day.
    torch.backends.cudnn.benchmark = False
    # No TF32: who asks for float32 wants it, and who wants speed has half precision.
    torch.set_float32_matmul_precision("highest")
    # Sums in half precision, where a product is split: faster by little, and off by more than rounding.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    # Several runs at once fill the cores (`worker.runs`), and sums are shared out among nobody.
    torch.set_num_threads(1)
