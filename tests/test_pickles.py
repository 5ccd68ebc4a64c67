"""Pickles are read and never run: every attack is refused by name, and a canary proves it."""

import ast
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import gan
from gan.errors import LabError
from gan.loading import pickles
from gan.loading.content import Content, LazyTensor
from gan.loading.machine import MOST_STEPS
from gan.loading.pickles import Name, Node
from tests.tiny import tiny_network
from tests.tiny_pickles import Called, invented, nested, rebuilt, snapshot

PROJECT = Path(__file__).parents[1]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that appears when something in a pickle is run."""
    return tmp_path / "canary"


def refusal(content: bytes, tmp_path: Path, name: str = "model.pkl") -> LabError:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(LabError) as caught:
        gan.load_generator(file)
    assert caught.value.message("en") != caught.value.message("zh")
    return caught.value


# Containers for a payload: where in a file it is


def legacy_stream(payload: bytes, keys: bytes | None = None) -> bytes:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    return b"".join([*parts, payload, pickle.dumps([], 2) if keys is None else keys])


def zip_stream(payload: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def inside(blob: bytes) -> bytes:
    """A snapshot in which a tensor's nested stream is `blob`."""
    storage = Called("torch.storage._load_from_bytes", blob)
    tensor = rebuilt(storage, torch.zeros(2))
    with invented("torch_utils.persistence._reconstruct_persistent_obj"):
        return snapshot(tiny_network(), others={"extra": tensor})


PLACES: dict[str, Callable[[bytes], bytes]] = {
    "file": lambda payload: payload,
    "zip": zip_stream,
    "legacy": legacy_stream,
    "nested zip": lambda payload: inside(zip_stream(payload)),
    "nested legacy": lambda payload: inside(legacy_stream(payload)),
}


# The attacks


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", range(6))
def test_a_system_call_is_refused_wherever_it_is(
    tmp_path: Path, canary: Path, place: str, protocol: int
):
    attack = pickle.dumps(Called("posix.system", f"touch {canary}"), protocol)
    error = refusal(PLACES[place](attack), tmp_path)
    assert (error.code, error.values["found"]) == ("unsafe_pickle", "posix.system")
    assert not canary.exists()


def test_the_canary_would_sing(canary: Path):
    """Python's own reader runs what ours refuses: the tests above could fail."""
    attack = pickle.dumps(Called("posix.system", f"touch {canary}"), 4)
    pickle.Unpickler(io.BytesIO(attack)).load()
    assert canary.exists()


CALLS = {
    "builtins.eval": ("open(canary, 'w')",),
    "builtins.exec": ("open(canary, 'w')",),
    "builtins.getattr": ("os", "system"),
    "builtins.__import__": ("os",),
    "builtins.open": ("canary", "w"),
    "builtins.compile": ("1", "x", "eval"),
    "builtins.bytearray": (2**40,),
    "builtins.bytes": (2**40,),
    "builtins.range": (2**40,),
    "subprocess.Popen": (["touch", "canary"],),
    "importlib.import_module": ("os",),
    "operator.attrgetter": ("system",),
    "operator.methodcaller": ("system", "ls"),
    "functools.partial": (print,),
    "functools.reduce": (1, 2),
    "types.CodeType": (0,),
    "types.FunctionType": (0,),
    "runpy.run_path": ("canary",),
    "shutil.rmtree": ("canary",),
    "pickle.loads": (b"",),
    "torch.load": ("canary",),
    "torch.hub.load": ("canary",),
    "torch.jit.load": ("canary",),
    "torch.storage._load_from_file": ("canary",),
    "torch._utils._rebuild_qtensor": (1,),
    "torch.ops.load_library": ("canary",),
    "numpy.load": ("canary",),
    "numpy.fromfile": ("canary",),
    "numpy.core.multiarray.fromfile": ("canary",),
    "numpy.testing._private.utils.runstring": ("1", {}),
    "code.interact": (),
    "pty.spawn": ("sh",),
    "webbrowser.open": ("http://x",),
    "os.popen": ("ls",),
    "nt.system": ("dir",),
    "sys.exit": (),
    "site.main": (),
    "_codecs.decode": (b"", "zip"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_refused_by_its_name(tmp_path: Path, canary: Path, name: str):
    module, _, attribute = name.rpartition(".")
    args = tuple(str(canary) if arg == "canary" else arg for arg in CALLS[name])
    call = f"c{module}\n{attribute}\n".encode() + pickle.dumps(args, 2)[2:-1] + b"R."
    error = refusal(b"\x80\x02" + call, tmp_path)
    assert (error.code, error.values["found"]) == ("unsafe_pickle", name)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("found", "program"),
    [
        ("INST posix system", b"(S'touch canary'\niposix\nsystem\n."),
        ("OBJ", b"\x80\x02(ctorch.nn\nLinear\nS'x'\no."),
        ("EXT1 7", b"\x80\x02\x82\x07."),
        ("EXT2 300", b"\x80\x02\x83\x2c\x01."),
        ("EXT4 70000", b"\x80\x02\x84\x70\x11\x01\x00."),
        ("PERSID 7", b"\x80\x02P7\n."),
        (r"PERSID \q", b"\x80\x02P\\q\n."),
        ("storage", b"\x80\x02(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x01tQ."),
        ("torch.nn.modules.os", b"\x80\x04\x8c\x08torch.nn\x8c\x0emodules.os.sys\x93."),
        ("call of str", b"\x80\x02U\x01xU\x01y\x85R."),
        ("call of Node", b"\x80\x02ctorch.nn\nLinear\n)R)R."),
        ("NEXT_BUFFER", b"\x80\x05\x97."),
        ("TorchScript", None),
    ],
)
def test_opcodes_that_reach_out_are_refused(tmp_path: Path, found: str, program: bytes | None):
    if program is None:
        stream = io.BytesIO(zip_stream(pickle.dumps({})))
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("archive/code/model.py", "import os")
        program = stream.getvalue()
    error = refusal(program, tmp_path)
    assert error.code == "unsafe_pickle"
    assert found in str(error.values["found"])


def test_a_compressed_entry_is_refused(tmp_path: Path):
    bomb = zip_stream(pickle.dumps({"a": "x" * 10**6}), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    error = refusal(bomb, tmp_path)
    assert (error.code, "compressed" in str(error.values["found"])) == ("unsafe_pickle", True)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (-1, (2,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (-2,), (1,)),
        (0, (2,), (-1,)),
        (3, (2,), (-1,)),
        (0, (4,), (0,)),
        (0, (2, 2), (2, 0)),
        (0, (2**40, 2**40), (0, 0)),
        (0, (3, 3), (1, 1)),
        (0, (2,), (1, 1)),
        (0, (1,) * 9, (1,) * 9),
        (0, (2**70,), (1,)),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (2**62, (1,), (1,)),
    ],
)
@pytest.mark.parametrize("place", ["nested", "zip"])
def test_tensors_outside_their_storage_are_refused(
    tmp_path: Path, place: str, offset: int, size: tuple, stride: tuple
):
    if place == "nested":
        storage = nested(torch.zeros(4)).args[0]
        tensor = Called("torch._utils._rebuild_tensor_v2", storage, offset, size, stride, False, {})
        content = pickle.dumps({"g_ema": {"style.1.weight": tensor}}, 2)
    else:
        stored = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ"
        values = b"".join(pickle.dumps(value, 2)[2:-1] for value in (offset, size, stride))
        program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + stored + values + b"\x89}tR."
        stream = io.BytesIO(zip_stream(program))
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("archive/data/0", b"\x00" * 16)
        content = stream.getvalue()
    error = refusal(content, tmp_path)
    assert error.code == "damaged_pickle"
    assert "tensor" in str(error.values["reason"])


def test_every_cut_of_a_snapshot_is_refused(tmp_path: Path):
    whole = snapshot(tiny_network())
    for length in range(0, len(whole), len(whole) // 29):
        assert refusal(whole[:length], tmp_path).code in ("damaged_pickle", "file_is_empty")


def test_hostile_source_is_text(tmp_path: Path):
    content = snapshot(tiny_network())
    assert b"raise RuntimeError" in content
    (tmp_path / "n.pkl").write_bytes(content)
    assert gan.load_generator(tmp_path / "n.pkl").resolution == 16


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("file_is_a_page", b"<!DOCTYPE html><html><body>404</body></html>"),
        ("file_is_a_page", b"\xef\xbb\xbf\n <HTML>"),
        ("file_is_a_page", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        ("file_is_a_pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("file_is_gguf", b"GGUF\x03\x00\x00\x00"),
        ("file_is_onnx", b"\x08\x07\x12\x07pytorch\x1a\x052.0.1"),
        ("file_is_keras", b"\x89HDF\r\n\x1a\n"),
        ("file_is_a_picture", b"\x89PNG\r\n\x1a\n"),
        ("file_is_an_archive", b"\x1f\x8b\x08\x00"),
        ("file_is_an_archive", b"a" * 257 + b"ustar\x0000"),
        ("file_is_empty", b""),
        ("unknown_format", b"hello, world"),
        ("unknown_format", b"\x00" * 100),
        ("damaged_pickle", b"PK\x03\x04" + b"\x00" * 100),
        ("damaged_pickle", b"\x80\x04\xff"),
        ("file_without_tensors", pickle.dumps({"a": [1, 2.0, "x", None, (True,)]})),
    ],
)
def test_what_is_no_model_says_what_it_is(tmp_path: Path, code: str, content: bytes):
    assert refusal(content, tmp_path).code == code


# Small programs that would make much


@pytest.mark.parametrize("end", [b".", b"}h\x00Ns.", b"(h\x00Nd.", b"ccollections\nx\nh\x00R."])
def test_exponential_tuples_cost_nothing(tmp_path: Path, end: bytes):
    doubled = b"K\x01\x85" + b"2\x86" * 5000  # ((((1,), (1,)), …
    error = refusal(b"\x80\x04" + doubled + b"\x94" + end, tmp_path)
    assert error.code in ("damaged_pickle", "file_without_tensors", "unsafe_pickle")


@pytest.mark.parametrize(
    "name", ["numpy.dtype", "torch.Size", "collections.OrderedDict", "builtins.set"]
)
def test_exponential_arguments_cost_nothing(tmp_path: Path, name: str):
    module, _, attribute = name.rpartition(".")
    doubled = b"K\x01\x85" + b"2\x86" * 5000
    program = f"c{module}\n{attribute}\n".encode() + doubled + b"\x85R."
    assert refusal(b"\x80\x04" + program, tmp_path).code in (
        *("damaged_pickle", "file_without_tensors", "unsafe_pickle"),
    )


def test_a_text_copied_again_and_again_is_refused(tmp_path: Path):
    text = b"X" + struct.pack("<I", 100_000) + b"x" * 100_000 + b"\x94"
    copies = b"h\x01h\x00\x8c\x06latin1\x86R" * 1000
    program = b"\x80\x04" + text + b"0c_codecs\nencode\n\x940" + b"(" + copies + b"t."
    error = refusal(program, tmp_path)
    assert "more than the file holds" in str(error.values["found"])


def test_endless_programs_are_refused(tmp_path: Path):
    error = refusal(b"\x80\x04" + b"N0" * MOST_STEPS, tmp_path)
    assert f"{MOST_STEPS:,}" in str(error.values["found"])


def test_streams_within_streams_end(tmp_path: Path):
    blob = legacy_stream(pickle.dumps(0))
    for _ in range(5):
        blob = legacy_stream(pickle.dumps(Called("torch.storage._load_from_bytes", blob), 2))
    assert "nested too deep" in str(refusal(inside(blob), tmp_path).values["found"])


def test_storages_of_two_kinds_are_refused():
    def stored(kind: str) -> bytes:
        return f"(U\x07storagectorch\n{kind}\nU\x010U\x03cpuK\x02tQ".encode()

    payload = b"\x80\x02(" + stored("FloatStorage") + stored("HalfStorage") + b"t."
    with pytest.raises(LabError, match="two kinds"):
        pickles.read(legacy_stream(payload))


# What can be read


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_as_python_reads_them(protocol: int):
    value = {
        "numbers": [0, -1, 2**31, -(2**70), 1.5, float("inf")],
        "texts": ["", "é中😀", "a\nb"],
        "others": (None, True, False, (), [], {}, ("x", ("y",))),
        7: {1.5: "key", None: "none", b"bytes": 1},
        "long": "x" * 5000,
    }
    assert pickles.read(pickle.dumps(value, protocol)) == value


def test_sets_and_ordered_tables_become_plain_ones():
    from collections import OrderedDict, defaultdict

    value = {"s": {1}, "f": frozenset([2]), "o": OrderedDict(a=1), "d": defaultdict(list, b=2)}
    for protocol in (2, 4):
        read = pickles.read(pickle.dumps(value, protocol))
        assert read == {"s": [1], "f": [2], "o": {"a": 1}, "d": {"b": 2}}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(2000, dtype=np.float64),
        np.asfortranarray(np.arange(12, dtype=np.int32).reshape(3, 4)),
        np.ones((), np.float16),
        np.zeros((0, 3), np.uint8),
        np.array([True, False]),
    ],
    ids=str,
)
def test_numpy_arrays_are_read(array: np.ndarray, protocol: int):
    read = pickles.read(pickle.dumps(array, protocol))
    assert isinstance(read, LazyTensor)
    assert np.array_equal(read.load().numpy(), array)
    assert read.load().numpy().dtype == array.dtype


def test_numpy_numbers_are_read():
    for number in (np.float64(2.5), np.float32(0.1), np.int64(-3), np.bool_(True)):
        assert pickles.read(pickle.dumps(number)) == number.item()


@pytest.mark.parametrize("array", [np.array([object()]), np.zeros(2, ">f4"), np.array(["a"])])
def test_other_arrays_are_refused(array: np.ndarray):
    with pytest.raises(LabError):
        pickles.read(pickle.dumps(array))


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_are_read(tmp_path: Path, legacy: bool):
    tensors = {
        "a": torch.randn(3, 4),
        "b": torch.randn(5, 6)[1:3, ::2],
        "c": torch.arange(3),
        "d": torch.tensor(2.5),
        "e": torch.zeros(0, 4),
        "f": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "g": torch.nn.Parameter(torch.randn(2).half()),
        "h": torch.tensor([True, False]),
        "i": torch.randn(3).bfloat16(),
    }
    torch.save(tensors, tmp_path / "t.pt", _use_new_zipfile_serialization=not legacy)
    read = pickles.read(tmp_path / "t.pt")
    for name, tensor in tensors.items():
        assert torch.equal(read[name].load(), tensor), name
        assert read[name].dtype == tensor.dtype


def test_whole_modules_are_read_as_tables(tmp_path: Path):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 3)), tmp_path / "m.pt")
    read = pickles.read(tmp_path / "m.pt")
    assert isinstance(read, Node)
    assert read.name == "torch.nn.modules.container.Sequential"
    linear = read.state["_modules"]["0"]
    assert linear.state["_parameters"]["weight"].shape == (3, 2)


def test_names_stay_names():
    assert pickles.read(b"\x80\x02ctorch\nfloat32\n.") == Name("torch.float32")
    assert pickles.read(b"\x80\x02ctraining.networks\nGenerator\n.") == Name(
        "training.networks.Generator"
    )


# The sources


def test_no_source_lets_a_pickle_run():
    """`torch.load` only with weights_only=True; nothing of pickle's own reader."""
    ours = [PROJECT / "app.py", *(PROJECT / "gan").rglob("*.py")]
    ours += (PROJECT / "benchmarks").rglob("*.py")
    breaches = [breach for path in ours for breach in running_calls(path)]
    tests = (PROJECT / "tests").rglob("*.py")
    breaches += [each for path in tests for each in running_calls(path) if "torch" in each]
    assert breaches == []


def test_a_breach_would_be_found(tmp_path: Path):
    path = tmp_path / "x.py"
    path.write_text("import pickle, torch\npickle.load(f)\ntorch.load(f)\n", encoding="utf-8")
    assert running_calls(path) == ["x.py:2 pickle.load", "x.py:3 torch.load"]


def running_calls(path: Path) -> list[str]:
    """Calls in a source file that could run what is in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        runs = called.rpartition(".")[2] in ("Unpickler", "loads") and "pickle" in called
        runs |= called in ("pickle.load", "dill.load", "joblib.load", "shelve.open")
        runs |= called in ("torch.load", "torch.jit.load") and given.get("weights_only") != "True"
        runs |= called in ("np.load", "numpy.load") and given.get("allow_pickle") == "True"
        if runs:
            found.append(f"{path.name}:{node.lineno} {called}")
    return found


def test_the_reader_imports_only_what_it_names():
    """Neither import_module nor getattr on a module where a file's names are known."""
    for name in ("machine", "pickles", "content", "networks", "formats", "tables", "sniffing"):
        source = (PROJECT / "gan" / "loading" / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in (
                    *("__import__", "eval", "exec", "import_module", "importlib.import_module"),
                ), name


def test_the_version_of_torch_is_a_text(tmp_path: Path):
    """Training programs note it beside the weights."""
    stored = {"torch": torch.__version__, "g_ema": tiny_network().state_dict()}
    assert type(torch.__version__).__name__ == "TorchVersion"
    torch.save(stored, tmp_path / "n.pt")
    assert gan.load_generator(tmp_path / "n.pt").resolution == 16
    tree = pickles.read(Content(tmp_path / "n.pt"))
    assert tree["torch"] == str(torch.__version__)
    assert type(tree["torch"]) is str
