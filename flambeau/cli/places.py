"""Where PyTorch keeps names that are elsewhere here: its files are laid out otherwise, and programs import from them.

A line for a module of PyTorch's gives flambeau's modules, and the names they offer there: "name", or "theirs=ours";
"theirs=Absent" may be mentioned, and says what it is where it is used.
Modules that flambeau has gain the names, others come to be. Imports nothing until a name is asked for.
Read next: `names.py`, which looks here; `stand_ins/`.
"""

from __future__ import annotations

import importlib
from typing import Any

HELPERS = "cli.stand_ins.helpers"
SAMPLERS = "BatchSampler RandomSampler Sampler SequentialSampler"
NOTHING = f"{HELPERS}:"

PLACES = {
    "": f"core._core: UntypedStorage=Storage; jit: ScriptModule ScriptFunction; {HELPERS}: PyTorchFileReader=Absent "
    "PyTorchFileWriter=Absent",
    "_C": "cli.stand_ins.core: Size Tensor TensorBase device dtype _disabled_torch_function_impl _get_default_device "
    "_get_privateuse1_backend_name _get_tracing_state _is_tracing _log_api_usage_once _nn; "
    f"{HELPERS}: _TensorMeta=TensorMeta",
    "_C._distributed_rpc": f"{HELPERS}: _is_current_rpc_agent_set=false",
    "_dynamo": f"nn.compiled: OptimizedModule; {HELPERS}: assume_constant_result=same",
    "_dynamo._trace_wrapped_higher_order_op": f"{HELPERS}: TransformGetItemToIndex=nothing",
    "_dynamo.eval_frame": "nn.compiled: OptimizedModule",
    "_higher_order_ops": NOTHING,
    "_higher_order_ops.associative_scan": f"{HELPERS}: associative_scan=Absent",
    "_jit_internal": f"{HELPERS}: _overload=same _overload_method=same; jit: export ignore unused Final",
    "_tensor": "core._core: Tensor",
    "_tensor_str": f"_printing: PRINT_OPTS=options; {HELPERS}: _tensor_str=tensor_text",
    "_utils": NOTHING,
    "autograd.grad_mode": "autograd: enable_grad inference_mode no_grad set_grad_enabled",
    "autograd.profiler": f"{HELPERS}: emit_itt=Absent emit_nvtx=Absent",
    "backends.mps": f"{HELPERS}: is_macos_or_newer=false",
    "cpu.amp.autocast_mode": "cpu.amp: autocast",
    "cpu.amp.grad_scaler": "cpu.amp: GradScaler",
    "cuda.amp.autocast_mode": "cuda.amp: autocast custom_bwd custom_fwd",
    "cuda.amp.grad_scaler": "cuda.amp: GradScaler",
    "cuda": f"{HELPERS}: graph=Absent",
    "distributed.rpc": f"{HELPERS}: RRef=Absent TensorPipeRpcBackendOptions=Absent",
    "distributed.rpc.api": f"{HELPERS}: _all_gather=Absent _barrier=Absent _require_initialized=same",
    "distributed.tensor": f"{HELPERS}: DTensor=Absent",
    "fx": f"{HELPERS}: Graph=Absent GraphModule=Absent Interpreter=Absent Node=Absent Proxy=Absent Tracer=Absent "
    "Transformer=Absent symbolic_trace=Absent wrap=same",
    "hub": f"{HELPERS}: _get_torch_home=torch_home",
    "jit": f"{HELPERS}: _overload=same _overload_method=same",
    "nn.common_types": f"{HELPERS}: _size_1_t=_size _size_2_t=_size _size_3_t=_size _size_any_t=_size",
    "nn.functional": "overrides: handle_torch_function has_torch_function",
    "nn.init": f"{HELPERS}: _no_grad_normal_=gaussian _no_grad_uniform_=uniform",
    "nn.modules.instancenorm": "nn.modules.batchnorm: InstanceNorm1d InstanceNorm2d InstanceNorm3d _InstanceNorm",
    "nn.modules.module": f"{HELPERS}: _addindent=add_indent",
    "nn.modules.normalization": f"{HELPERS}: _shape_t=_size",
    "nn.modules.transformer": f"{HELPERS}: _get_activation_fn=activation _get_clones=clones",
    "nn.modules.utils": f"{HELPERS}: _ntuple=ntuple _single=single _pair=pair _triple=triple _quadruple=quadruple "
    "_reverse_repeat_tuple=reverse_repeat_tuple consume_prefix_in_state_dict_if_present",
    "ops": "cli.stand_ins.ops: *",
    "optim.adadelta": "optim: Adadelta",
    "optim.adagrad": "optim: Adagrad",
    "optim.adamw": "optim: AdamW",
    "optim.asgd": "optim: ASGD",
    "optim.nadam": "optim: NAdam",
    "optim.optimizer": f"{HELPERS}: ParamsT _params_t _capturable_doc=text _default_to_fused_or_foreach="
    "fused_or_foreach _differentiable_doc=text _dispatch_sqrt=square_root _foreach_doc=text _fused_doc=text "
    "_get_scalar_dtype=scalar_dtype _get_value=value_of _maximize_doc=text _params_doc=text "
    "_use_grad_for_differentiable=same _view_as_real=view_as_real",
    "optim.radam": "optim: RAdam",
    "profiler": f"{HELPERS}: kineto_available=false",
    "storage": "core._core: TypedStorage=Storage UntypedStorage=Storage",
    "types": f"{HELPERS}: Device Number _size; core._core: Storage _dtype=DType _device=device",
    "utils._foreach_utils": "cli.stand_ins.foreach: _group_tensors_by_device_and_dtype _has_foreach_support",
    "utils._pytree": f"{HELPERS}: Context=Any _dict_flatten=dict_flatten _dict_flatten_with_keys=dict_flatten "
    "_dict_unflatten=dict_unflatten _get_node_type=node_type _is_leaf=is_leaf; "
    "utils._pytree: LeafSpec=TreeSpec SUPPORTED_NODES=CONTAINERS",
    "utils.data": f"{HELPERS}: DataChunk=Absent IterDataPipe=Absent MapDataPipe=Absent functional_datapipe=named",
    "utils.data._utils": NOTHING,
    "utils.data._utils.collate": "utils.data: default_collate default_convert",
    "utils.data.dataloader": f"utils.data: DataLoader Dataset IterableDataset default_collate default_convert "
    f"get_worker_info {SAMPLERS}; {HELPERS}: _BaseDataLoaderIter=Absent _MultiProcessingDataLoaderIter=Absent "
    "_SingleProcessDataLoaderIter=Absent",
    "utils.data.datapipes": NOTHING,
    "utils.data.datapipes.iter": f"{HELPERS}: Batcher=Absent Collator=Absent FileLister=Absent IterableWrapper=Absent "
    "Mapper=Absent Shuffler=Absent",
    "utils.data.distributed": "utils.data: DistributedSampler",
    "utils.hooks": "autograd.handles: RemovableHandle",
    "utils.model_zoo": "hub: load_url=load_state_dict_from_url",
}


def names(module: str) -> dict[str, tuple[str, str]]:
    """Name -> (flambeau's module, the name there) of what a module of PyTorch's gains, "*" for all of a module's."""
    found = {}
    for part in PLACES.get(module, "").split("; "):
        ours, _, listed = part.partition(":")
        for item in listed.split():
            theirs, _, name = item.partition("=")
            found[theirs] = f"flambeau.{ours}", name or theirs
    return found


def lookup(module: str, name: str) -> Any:
    """What stands under the name there; raises AttributeError where the table has nothing."""
    if name not in (table := names(module)):
        raise AttributeError(name)
    where, ours = table[name]
    found = importlib.import_module(where)
    return found.absent(module, name) if ours == "Absent" else getattr(found, ours)
