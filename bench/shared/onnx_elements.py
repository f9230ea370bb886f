"""Names the element types of ONNX tensors, by their number in `TensorProto.DataType`."""

from __future__ import annotations

STRING, BFLOAT16 = 8, 16
NATIVE: dict[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
}
"""The types that NumPy has, by their number in `TensorProto.DataType`; the names are NumPy's too."""
OTHERS: dict[int, tuple[str, str, int]] = {
    BFLOAT16: ("bfloat16", "bfloat16", 16),
    17: ("float8e4m3fn", "float8_e4m3fn", 8),
    18: ("float8e4m3fnuz", "float8_e4m3fnuz", 8),
    19: ("float8e5m2", "float8_e5m2", 8),
    20: ("float8e5m2fnuz", "float8_e5m2fnuz", 8),
    21: ("uint4", "uint4", 4),
    22: ("int4", "int4", 4),
    23: ("float4e2m1", "float4_e2m1fn", 4),
    24: ("float8e8m0", "float8_e8m0fnu", 8),
    25: ("uint2", "uint2", 2),
    26: ("int2", "int2", 2),
}
"""The types that NumPy lacks: ONNX's name, the name in `ml_dtypes`, and the bits of one value."""
NAMES: dict[int, str] = {**NATIVE, STRING: "string", **{number: names[0] for number, names in OTHERS.items()}}
NUMBERS = {name: number for number, name in NAMES.items()}
