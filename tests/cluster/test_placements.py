"""Placements: what a file may say, what fits, and that no key knows of any of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.placements import Placement, PlacementError, auto, check, choose, describe, read
from components.dataflow.errors import InputError
from components.dataflow.stage import Pool
from flows import full_study
from flows.command_line import cli
from flows.command_line.options import parse

WHOLE = """
[engines]
actors = 4
gpus = 2
shards_at_once = 2
resources = {gpu_generate = 1}
[graders]
actors = 8
cpus = 0.5
[scorers]
gpus = 1
[training]
actors = 2
gpus = 4
sharding = "fsdp"
[stages.judgements]
gpus = 4
[nodes.gpu-generate]
count = 4
cpus = 8
gpus = 4
resources = {gpu_generate = 1}
"""
HEAD = {"CPU": 4.0, "node:10.0.0.1": 1.0, "memory": 1e9}


def written(folder: Path, text: str) -> Path:
    path = folder / "placement.toml"
    path.write_text(text)
    return path


def test_a_file_places_every_kind_and_single_stages(tmp_path: Path) -> None:
    found = read(written(tmp_path, WHOLE))
    assert found.pools["engines"] == Pool(4, 0.25, 2, shards_at_once=2, resources={"gpu_generate": 1})
    assert found.pools["training"] == Pool(2, 0.25, 4, sharding="fsdp")
    assert found.pools["judgements"].gpus == 4
    assert list(found.nodes) == [{"CPU": 8.0, "GPU": 4.0, "gpu_generate": 1}] * 4
    assert choose(found, [HEAD]) == found
    assert choose(found, [HEAD], "ddp").pools["training"].sharding == "ddp"
    assert describe(found, [HEAD]) == (
        "placement: engines 4 × (0.25 CPU, 2 GPU, 1 gpu_generate); graders 8 × (0.5 CPU); "
        "scorers 1 × (0.25 CPU, 1 GPU); training 2 × (0.25 CPU, 4 GPU); judgements 1 × (0.25 CPU, 4 GPU); of 4 CPU"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[engines]", "[engine]", r"\[engine\]: tables are engines, graders, scorers, training, stages.NAME and nodes"),
        ("[scorers]\ngpus = 1", "", r"\[scorers\] is missing"),
        ("actors = 4", "actors = 0", r"\[engines\]: actors is 0; at least 1"),
        ("actors = 4", 'actors = "4"', r"\[engines\]: actors is '4', not int"),
        ("actors = 4", "actors = true", r"\[engines\]: actors is True, not int"),
        ("actors = 4", "actor = 4", r"\[engines\]: no setting 'actor'; there are actors, cpus"),
        ("cpus = 0.5", "cpus = -0.5", r"\[graders\]: cpus is -0.5, which is negative"),
        ("{gpu_generate = 1}\n[graders]", '{gpu_generate = "1"}\n[graders]', r"\[engines\]: resources is .* by name"),
        ('"fsdp"', '"zero"', r"\[training\]: sharding is 'zero'; ddp or fsdp"),
        ("gpus = 2", "gpus = 1.5", r"\[engines\]: gpus is 1.5; a part of one GPU, or whole ones"),
        ("[stages.judgements]\ngpus = 4", "[stages]\njudgements = 4", r"\[stages.judgements\] is not a table"),
        ("shards_at_once = 2", "vllm = 2", r"\[engines.vllm\] is not a table"),
        ("[graders]", "[graders", r"placement.toml: not TOML: .*line 7"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WHOLE
    with pytest.raises(PlacementError, match=message):
        read(written(tmp_path, WHOLE.replace(old, new)))


def test_options_of_vllm_are_those_of_engines_and_some_are_a_part_of_keys(tmp_path: Path) -> None:
    options = "[engines.vllm]\nmax_num_seqs = 1024\nkv_cache_dtype = 'fp8'\n[graders]"
    path = written(tmp_path, WHOLE.replace("[graders]", options))
    pools = read(path).pools
    assert pools["engines"].options == {"max_num_seqs": 1024, "kv_cache_dtype": "fp8"}
    assert not pools["graders"].options
    study = cli.open_study(parse(["plan", "--root", str(tmp_path / "outputs"), "--placement", str(path)], ""))
    for config in (study.preset.sampling, study.preset.rollouts.sampling, study.preset.judge.sampling):
        assert config.engine_options == (("kv_cache_dtype", '"fp8"'),)
    assert (
        '[engines.vllm] kv_cache_dtype = "fp8" can change tokens, so the keys of what is sampled have it' in study.notes
    )
    path.write_text(path.read_text().replace("max_num_seqs = 1024", "seed = 3"))
    with pytest.raises(InputError, match=r"\[engines.vllm\]: no option 'seed'; there are max_num_seqs"):
        cli.open_study(parse(["plan", "--root", str(tmp_path / "outputs"), "--placement", str(path)], ""))


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(PlacementError, match=r"none.toml: No such file"):
        read(tmp_path / "none.toml")


def placement(**pools: Pool) -> Placement:
    return Placement({"engines": Pool(1), "graders": Pool(1), "scorers": Pool(1), "training": Pool(1)} | pools)


@pytest.mark.parametrize(
    ("pools", "nodes", "message"),
    [
        (
            {"engines": Pool(4, 1, 2)},
            [{"CPU": 8.0, "GPU": 4.0}] * 1,
            r"engines needs 4 × \(1 CPU, 2 GPU\), each on one node; 1 nodes with 8 CPU, 4 GPU in all hold 2 of them",
        ),
        # Enough GPUs in all, and no node with two.
        ({"engines": Pool(1, 1, 2)}, [{"CPU": 8.0, "GPU": 1.0}] * 4, r"with 32 CPU, 4 GPU in all hold 0 of them"),
        # What streams together must fit together.
        (
            {"engines": Pool(3, 1), "graders": Pool(2, 1)},
            [{"CPU": 4.0}],
            r"graders needs 2 × \(1 CPU\).* hold 1 of them beside engines",
        ),
        ({"training": Pool(2, 1, resources={"gpu_train": 1})}, [{"CPU": 4.0}], r"training needs .*1 gpu_train\)"),
        ({"judgements": Pool(1, 1, 1)}, [{"CPU": 4.0}], r"judgements needs 1 × \(1 CPU, 1 GPU\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(
    pools: dict[str, Pool], nodes: list[dict[str, float]], message: str
) -> None:
    with pytest.raises(PlacementError, match=message):
        check(placement(**pools), nodes)


def test_what_an_autoscaler_may_add_counts() -> None:
    wanted = placement(engines=Pool(2, 1, 1))
    with pytest.raises(PlacementError):
        check(wanted, [HEAD])
    check(Placement(wanted.pools, [{"CPU": 4.0, "GPU": 1.0}] * 2), [HEAD])


@pytest.mark.parametrize("cpus", [1.0, 2.0, 3.0, 16.0, 96.0])
@pytest.mark.parametrize("gpus", [0.0, 1.0, 8.0])
def test_auto_fits_what_it_was_made_for_and_leaves_room(cpus: float, gpus: float) -> None:
    chosen = auto({"CPU": cpus, "GPU": gpus})
    check(chosen, [{"CPU": cpus, "GPU": gpus}])
    streaming = [chosen.pools["engines"], chosen.pools["graders"]]
    assert sum(pool.actors * pool.cpus for pool in streaming) <= 0.8 * cpus + 1e-9 or cpus == 1


def test_auto_needs_a_cpu() -> None:
    with pytest.raises(PlacementError, match=r"0\.5 CPUs; a study needs at least 1"):
        auto({"CPU": 0.5})


def test_a_wrong_file_is_refused_before_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, WHOLE.replace("actors = 4", "actors = 0"))
    assert cli.run(full_study.full_study, ["--root", str(tmp_path / "store"), "--placement", str(path)], "") == 2
    assert capsys.readouterr().err == f"error: --placement {path}: [engines]: actors is 0; at least 1\n"
    assert not (tmp_path / "store/datasets").exists()


SPREAD = WHOLE.replace("gpus = 2\nshards", "gpus = 4\nnodes = 2\nshards")


def test_an_engine_may_be_spread_over_nodes(tmp_path: Path) -> None:
    found = cli.read_placement(str(written(tmp_path, SPREAD.replace("actors = 4", "actors = 2", 1))))
    assert found is not None
    engines = found.pools["engines"]
    assert (engines.nodes, engines.gpus_of_actor, engines.held["gpus"]) == (2, None, 16)
    assert engines.options["pipeline_parallel_size"] == 2
    check(found, [HEAD])
    assert "engines 2 × (0.25 CPU, 4 GPU, 1 gpu_generate on the first of 2 nodes)" in describe(found, [HEAD])


def test_vllm_alone_runs_over_nodes(tmp_path: Path) -> None:
    path = written(tmp_path, SPREAD)
    argv = [
        "plan",
        "--root",
        str(tmp_path / "outputs"),
        "--placement",
        str(path),
        "--engine",
        "transformers",
    ]
    with pytest.raises(InputError, match="vLLM alone runs over nodes, and transformers samples"):
        cli.open_study(parse(argv, ""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SPREAD.replace("resources = {gpu_generate = 1}\n[graders]", "[graders]"), "nodes is 2: it needs gpus"),
        (SPREAD.replace("gpus = 4\nnodes", "nodes"), "nodes is 2: it needs gpus"),
        (SPREAD.replace("nodes = 2", "nodes = 0"), "nodes is 0; at least 1"),
        (SPREAD.replace("nodes = 2", 'nodes = "2"'), "nodes is '2', not int"),
        (
            WHOLE.replace("[scorers]\n", "[scorers]\nnodes = 2\nresources = {a = 1}\n"),
            "[scorers]: nodes is 2; [engines]",
        ),
    ],
)
def test_nodes_that_no_engine_can_be_spread_over_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PlacementError) as caught:
        read(written(tmp_path, text))
    assert message in str(caught.value)


def test_too_few_nodes_for_spread_engines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlacementError, match=r"engines needs 4 × \(.*\), each on 2 nodes; 5 nodes .* hold 2 of them"):
        choose(read(written(tmp_path, SPREAD)), [HEAD])


def test_an_option_that_follows_from_nodes_is_refused(tmp_path: Path) -> None:
    text = SPREAD + "[engines.vllm]\npipeline_parallel_size = 2\n"
    with pytest.raises(InputError, match="pipeline_parallel_size follows from nodes = 2"):
        cli.read_placement(str(written(tmp_path, text)))
