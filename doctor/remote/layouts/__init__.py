"""Where CPython keeps what: the offsets of the fields that doctor reads, for one version on one architecture.

Readers write `layout.thread.next` as CPython writes `tstate->next`; which version they read shows in nothing but these
values, and in the optional parts, each of which exists in some versions only.

Values are bytes from the start of the struct, unless a field says otherwise. From 3.13 on the target carries a part of
them itself (`debug_offsets`); all others come from tables that `scripts/generate_layouts.py` makes out of CPython's
headers.
"""

from __future__ import annotations

from doctor.model.base import Value


class Runtime(Value, frozen=True, kw_only=True):
    """`_PyRuntimeState`."""

    interpreters_head: int
    gil_locked: int | None = None
    """Until 3.11 there is one lock for all interpreters: whether it is held, an int."""
    gil_last_holder: int | None = None
    gc_collecting: int | None = None
    """3.8 only: an int."""


class Interpreter(Value, frozen=True, kw_only=True):
    """`PyInterpreterState`."""

    next: int
    id: int
    threads_head: int
    modules: int
    """The dict `sys.modules`."""
    gil: int | None = None
    """From 3.12 on each interpreter names its lock."""
    gc_collecting: int | None = None
    """From 3.9 on: an int."""


class Gil(Value, frozen=True, kw_only=True):
    """`struct _gil_runtime_state`, from 3.12 on."""

    locked: int
    """An int."""
    last_holder: int
    """A thread state; it holds the lock if the lock is held."""


class Thread(Value, frozen=True, kw_only=True):
    """`PyThreadState`."""

    next: int
    interp: int
    thread_id: int
    """The pthread id."""
    frame: int
    """Until 3.10 a `PyFrameObject`, in 3.11 and 3.12 a `_PyCFrame`, from 3.13 on a `_PyInterpreterFrame`."""
    native_thread_id: int | None = None
    """From 3.11 on: the kernel's id."""
    datastack_chunk: int | None = None
    """From 3.11 on: the newest chunk."""
    datastack_top: int | None = None


class Chunk(Value, frozen=True, kw_only=True):
    """`_PyStackChunk`, from 3.11 on: a piece of a thread's stack of frames."""

    previous: int
    size: int
    data: int


class Frame(Value, frozen=True, kw_only=True):
    """`PyFrameObject` until 3.10, `_PyInterpreterFrame` from 3.11 on."""

    size: int
    """Of the fixed part, up to `localsplus`."""
    previous: int
    code: int
    """From 3.13 on any object may stand here; from 3.14 on its low bits are a tag."""
    instruction: int
    """Until 3.9 an index in bytes, in 3.10 in code units (an int); from 3.11 on an address: in 3.11 and 3.12 of the
    instruction that runs, from 3.13 on of that one or the next."""
    localsplus: int
    executing: int | None = None
    """Until 3.9 `f_executing`, in 3.10 `f_state`: a signed byte."""
    owner: int | None = None
    """From 3.11 on: a signed byte."""
    is_entry: int | None = None
    """3.11 only: whether C called it; from 3.12 on a frame on the C stack stands between."""
    stacktop: int | None = None
    """From 3.11 on, while another frame runs: until 3.13 an index (an int, -1 in the frame that runs), then an address
    (0 in the frame that runs)."""
    globals: int | None = None
    function: int | None = None


class CFrame(Value, frozen=True, kw_only=True):
    """`_PyCFrame`, 3.11 and 3.12 only."""

    current_frame: int


class Code(Value, frozen=True, kw_only=True):
    """`PyCodeObject`."""

    size: int
    filename: int
    name: int
    firstlineno: int
    linetable: int
    """Until 3.9 `co_lnotab`."""
    flags: int
    nlocalsplus: int
    """Until 3.10 `co_nlocals`."""
    stacksize: int
    instructions: int
    """Until 3.10 the bytes object `co_code`, from 3.11 on the start of the code itself."""
    instructions_size: int
    """From 3.11 on the size field of the object: how many code units there are. Until 3.10 equal to `instructions`."""
    qualname: int | None = None
    framesize: int | None = None
    """From 3.12 on: words of a frame. In 3.11 it is `nlocalsplus + stacksize` and the fixed part."""
    exceptiontable: int | None = None


class Object(Value, frozen=True, kw_only=True):
    """`PyObject` and what every instance may have."""

    size: int
    """Of the head."""
    type: int
    var_size: int
    """`ob_size` of objects of varying length."""
    managed_dict: int | None = None
    """From 3.11 on: how many bytes before an object its `__dict__` is, if its type says so. In 3.12 that word is odd
    where it is, but for one, the address of `PyDictValues`."""
    managed_values: int | None = None
    """3.11 only: how many bytes before an object the address of its `PyDictValues` is."""


class Type(Value, frozen=True, kw_only=True):
    """`PyTypeObject`, and of a type that Python code made also `PyHeapTypeObject`."""

    name: int
    basicsize: int
    itemsize: int
    flags: int
    dict: int
    """Null for the static types of 3.12 and later, which keep it elsewhere."""
    base: int
    mro: int
    members: int
    """An array of `PyMemberDef`, up to one without a name."""
    dictoffset: int
    heap_name: int
    heap_qualname: int
    cached_keys: int


class Unicode(Value, frozen=True, kw_only=True):
    """`PyASCIIObject` and `PyCompactUnicodeObject`."""

    length: int
    """In characters."""
    state: int
    """A bit field, read as a 32-bit word."""
    kind_shift: int
    """Of the three bits that say how many bytes a character takes."""
    compact_shift: int
    ascii_shift: int
    ascii_size: int
    """Where the characters of a compact ASCII string begin."""
    compact_size: int
    """The same for other compact strings."""


class Bytes(Value, frozen=True, kw_only=True):
    """`PyBytesObject`."""

    items: int


class Int(Value, frozen=True, kw_only=True):
    """`PyLongObject`."""

    digits: int
    tag: int | None = None
    """From 3.12 on: sign and number of digits; before, `ob_size` is both."""


class Float(Value, frozen=True, kw_only=True):
    """`PyFloatObject`."""

    value: int


class Tuple(Value, frozen=True, kw_only=True):
    """`PyTupleObject`."""

    items: int


class List(Value, frozen=True, kw_only=True):
    """`PyListObject`."""

    items: int
    """A pointer to them."""


class Dict(Value, frozen=True, kw_only=True):
    """`PyDictObject`."""

    used: int
    keys: int
    values: int


class DictKeys(Value, frozen=True, kw_only=True):
    """`PyDictKeysObject`."""

    nentries: int
    indices: int
    log2_size: int | None = None
    """From 3.11 on: a byte, as are the next two."""
    log2_index_bytes: int | None = None
    kind: int | None = None
    """0 general, 1 all keys are strings, 2 the keys of a class."""
    size: int | None = None
    """Until 3.10: how many index slots there are."""
    lookup: int | None = None
    """Until 3.10: the function that tells a split table apart."""


class DictValues(Value, frozen=True, kw_only=True):
    """`PyDictValues`: the values of an instance's attributes; their names are the `cached_keys` of its type."""

    items: int
    capacity: int | None = None
    """From 3.13 on: a byte, as are the next two; the order of the values stands behind so many of them. Before, it
    stands in front of them, from the third byte backwards; the second is how many there are."""
    used: int | None = None
    valid: int | None = None
    """Of values that an instance has behind it: whether they are in use."""


class Set(Value, frozen=True, kw_only=True):
    """`PySetObject`; an entry is a key and its hash."""

    used: int
    mask: int
    table: int


class Deque(Value, frozen=True, kw_only=True):
    """`dequeobject`, whose struct no header shows."""

    left_block: int
    left_index: int
    block_length: int
    """Items of a block."""
    block_items: int
    block_right: int


class Method(Value, frozen=True, kw_only=True):
    """`PyMethodObject`."""

    function: int
    self: int


class Builtin(Value, frozen=True, kw_only=True):
    """`PyCFunctionObject`, with the name of its `PyMethodDef`."""

    definition: int
    definition_name: int
    self: int


class Function(Value, frozen=True, kw_only=True):
    """`PyFunctionObject`."""

    code: int
    globals: int
    qualname: int
    module: int
    closure: int
    defaults: int


class Member(Value, frozen=True, kw_only=True):
    """`PyMemberDescrObject`, which is what a name in `__slots__` becomes, and its `PyMemberDef`."""

    definition: int
    definition_type: int
    definition_offset: int
    definition_name: int
    """A C string."""
    definition_size: int


class WeakRef(Value, frozen=True, kw_only=True):
    """`PyWeakReference`."""

    referent: int
    """`None` once the object is gone."""


class Module(Value, frozen=True, kw_only=True):
    """`PyModuleObject`."""

    dict: int


class Generator(Value, frozen=True, kw_only=True):
    """`PyGenObject`, and alike coroutines and asynchronous generators."""

    frame: int
    """Until 3.10 a pointer to the frame, from 3.11 on the frame itself."""
    frame_state: int | None = None
    """From 3.11 on: a signed byte."""


class Layout(Value, frozen=True, kw_only=True):
    """All of it."""

    runtime: Runtime
    interpreter: Interpreter
    thread: Thread
    frame: Frame
    code: Code
    gil: Gil | None = None
    cframe: CFrame | None = None
    chunk: Chunk | None = None
    object: Object
    type: Type
    unicode: Unicode
    bytes: Bytes
    int: Int
    float: Float
    tuple: Tuple
    list: List
    dict: Dict
    dict_keys: DictKeys
    dict_values: DictValues | None = None
    set: Set
    deque: Deque
    method: Method
    builtin: Builtin
    function: Function
    member: Member
    weakref: WeakRef
    module: Module
    generator: Generator
