"""The command line as a user meets it: the whole text on both streams, and the exit code."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import Result
from commands import invoke

from planner import __version__
from planner.catalog import load_catalog
from planner.cli import COMMANDS
from planner.fleet import TASKS, json_schema, load_fleet
from planner.units import GIB, MIB


def shown(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


def test_version() -> None:
    assert shown(invoke("--version")) == (0, f"planner {__version__}\n", "")


def test_help_lists_every_command() -> None:
    result = invoke("--help")

    assert result.exit_code == 0
    assert result.stdout == (
        "Usage: planner [OPTIONS] COMMAND [ARGS]...\n"
        "\n"
        "  Plan which models your GPUs can serve, prove that no plan is better, and\n"
        "  render what starts them.\n"
        "\n"
        "Options:\n"
        "  -V, --version  Show the version and exit.\n"
        "  -q, --quiet    Only the answer and errors.\n"
        "  -v, --verbose  Say what is done, and when.\n"
        "  --color WHEN   Colours: auto, always or never.\n"
        "  -h, --help     Show this message and exit.\n"
        "\n"
        "Commands:\n" + "".join(f"  {name:<{max(map(len, COMMANDS))}}  {line}\n" for name, line in COMMANDS.items())
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    result = invoke(name, "--help")

    assert result.exit_code == 0
    assert f"  {COMMANDS[name]}\n" in result.stdout


def test_unknown_command_is_a_usage_error() -> None:
    code, out, err = shown(invoke("plan"))

    assert (code, out) == (2, "")
    assert "No such command 'plan'" in err


DEAR = ("ortools", "pandas", "jinja2", "pydantic")


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], (*DEAR, "yaml")),
        (["--version"], (*DEAR, "yaml")),
        (["schema"], ("ortools", "pandas", "jinja2")),
        (["estimate", "Mistral-7B-Instruct-v0.3", "--gpu", "L40S"], ("ortools", "pandas", "jinja2")),
    ],
    ids=["help", "version", "schema", "estimate"],
)
def test_quick_commands_do_not_load_the_solver(arguments: list[str], absent: tuple[str, ...]) -> None:
    program = (
        "import sys\nfrom planner.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print([name for name in {absent!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_the_command_line_itself_needs_only_click() -> None:
    program = "import sys, planner.cli; print(sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    ours = {"planner", "click"}

    assert set(ours) <= set(yaml.safe_load(done.stdout))
    assert not {"yaml", "pydantic", "ortools", "jinja2", "numpy", "pynvml"} & set(yaml.safe_load(done.stdout))


def test_schema_prints_json_alone() -> None:
    code, out, err = shown(invoke("schema"))

    assert (code, err) == (0, "")
    assert json.loads(out) == json_schema()


def test_tasks_are_those_of_the_catalog() -> None:
    assert set(load_catalog().accuracy.scales) == set(TASKS)


class FakeNVML(SimpleNamespace):
    """What ``pynvml`` offers of the driver, for a machine with the given (name, bytes in use, split) devices."""

    NVML_DEVICE_MIG_ENABLE = 1
    nvmlMemory_v2 = 2  # noqa: N815 - NVML's own name
    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self, *devices: tuple[str, int, bool], driver: bool = True) -> None:
        super().__init__(devices=devices, driver=driver)

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError("NVML Shared Library Not Found")

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, device: int) -> str:
        return str(self.devices[device][0])

    def nvmlDeviceGetMemoryInfo(self, device: int, version: int) -> SimpleNamespace:
        assert version == self.nvmlMemory_v2
        return SimpleNamespace(used=self.devices[device][1])

    def nvmlDeviceGetMigMode(self, device: int) -> list[int]:
        if "H100" not in self.devices[device][0]:
            raise self.NVMLError("Not Supported")
        return [int(self.devices[device][2]), 0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_gpus(monkeypatch: pytest.MonkeyPatch, nvml: FakeNVML) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


@pytest.mark.parametrize("gpu", ["L40S", "NVIDIA H100 80GB HBM3", "rtx-pro-6000-blackwell"])
def test_init_writes_a_fleet_that_loads(gpu: str, folder: Path) -> None:
    assert shown(invoke("init", "--gpu", gpu)) == (0, "", "   create fleet.yaml\n")

    catalog = load_catalog()
    fleet = load_fleet(Path("fleet.yaml"), catalog)
    assert fleet.gpu == catalog.gpu(gpu)
    assert [role.name for role in fleet.roles] == ["assistant"]


def test_init_never_overwrites_by_itself(folder: Path) -> None:
    (folder / "fleet.yaml").write_text("mine\n")

    assert shown(invoke("init", "--gpu", "L40S")) == (
        5, "", " conflict fleet.yaml\n  hint: --force overwrites it\n",
    )  # fmt: skip
    assert (folder / "fleet.yaml").read_text() == "mine\n"
    assert shown(invoke("init", "--gpu", "L40S", "--force")) == (0, "", "overwrite fleet.yaml\n")
    assert (folder / "fleet.yaml").read_text() != "mine\n"


def test_init_names_the_gpus_it_finds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, FakeNVML(("NVIDIA H100 80GB HBM3", 300 * MIB, False), ("NVIDIA H100 80GB HBM3", 0, False)))

    assert invoke("init").exit_code == 0
    fleet = load_fleet(Path("fleet.yaml"), load_catalog())
    assert (
        fleet.gpu.product, fleet.gpu_count, fleet.gpu_index, fleet.memory_in_use_bytes,
    ) == ("NVIDIA H100 80GB HBM3", 2, 0, GIB // 2)  # fmt: skip


HINT = "\n  hint: name the GPU you plan for: planner init --gpu NAME, as nvidia-smi prints it or as in the catalog\n"


@pytest.mark.parametrize(
    ("nvml", "message"),
    [
        (FakeNVML(driver=False), "no NVIDIA driver answers here (NVML Shared Library Not Found)" + HINT),
        (FakeNVML(), "the NVIDIA driver knows no GPU here" + HINT),
        (
            FakeNVML(("NVIDIA L40S", 0, False), ("NVIDIA L4", 0, False)),
            "this machine has GPUs of several kinds: NVIDIA L40S, NVIDIA L4" + HINT,
        ),
        (FakeNVML(("NVIDIA H100 80GB HBM3", 0, True)), "GPU 0 is split into MIG instances" + HINT),
        (
            FakeNVML(("NVIDIA L40Z", 0, False)),
            "unknown GPU 'NVIDIA L40Z'\n  hint: did you mean L40 or L40S or L4?\n",
        ),
    ],
    ids=["no-driver", "no-gpu", "several-kinds", "split", "unknown"],
)
def test_init_asks_when_the_machine_cannot_tell(
    nvml: FakeNVML, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, nvml)

    assert shown(invoke("init")) == (1, "", f"error: {message}")
    assert list(folder.iterdir()) == []


def test_init_says_when_it_cannot_write(folder: Path) -> None:
    assert shown(invoke("init", "missing/fleet.yaml", "--gpu", "L4")) == (
        1, "", "error: cannot write missing/fleet.yaml: no such file or directory\n",
    )  # fmt: skip


def test_an_overlay_adds_to_the_catalog(folder: Path) -> None:
    (folder / "more" / "gpus").mkdir(parents=True)
    (folder / "more" / "gpus" / "ours.yaml").write_text(
        "vendor: nvidia\nsources: {}\ngpus:\n  - name: Ours 10GB\n    product: Ours\n    generation: Ada\n"
        '    compute_capability: "8.9"\n    memory: {marketing_gb: 10, torch_mib: [10000]}\n'
        "    interconnect: PCIe 4.0 x16\n    source: [ours]\n"
    )

    assert shown(invoke("init", "--gpu", "Ours", "--catalog", "more")) == (0, "", "   create fleet.yaml\n")
    assert "Ours 10GB" in (folder / "fleet.yaml").read_text()
    assert invoke("init", "--gpu", "Ours", "--force").exit_code == 1
    assert invoke("init", "--gpu", "Ours", "--catalog", "absent").exit_code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_behind_stdout_is_an_error_without_a_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "planner", "catalog", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "error: no space left on device\n"
