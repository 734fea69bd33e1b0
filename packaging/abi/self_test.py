# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Changes to an ABI, and what `check` is to make of them."""

import copy

CALL, STRUCT, FIXED = "guestmem_read_exact", "guestmem_region_options", "guestmem_slice"


def only(nodes, **wanted):
    found = [node for node in nodes if all(node.get(key) == value for key, value in wanted.items())]
    assert len(found) == 1, f"{wanted}: {found}"
    return found[0]


def call(abi):
    return only(abi.calls.iter("function-decl"), name=CALL)


def fields(abi, struct=STRUCT):
    """Fields by name, each a data-member that holds a var-decl."""
    members = only(abi.calls.iter("class-decl"), name=struct).iter("data-member")
    return {member.find("var-decl").get("name"): member for member in members}


def declarations(abi):
    """What tells of the call, each with what holds it."""
    unit = next(unit for unit in abi.calls.iter("abi-instr") if call(abi) in list(unit))
    symbols = abi.calls.find("elf-function-symbols")
    return [(unit, call(abi)), (symbols, only(symbols, name=CALL))]


def remove_call(abi):
    for holder, declaration in declarations(abi):
        holder.remove(declaration)


def add_call(abi):
    for holder, declaration in declarations(abi):
        new = copy.deepcopy(declaration)
        for key, value in new.attrib.items():
            new.set(key, value.replace(CALL, "guestmem_new_call"))
        holder.append(new)


def swap_fields(abi):
    flags, align = (fields(abi)[name].find("var-decl") for name in ("flags", "align"))
    flags.set("name", "align")
    align.set("name", "flags")


def append_field(abi, struct=STRUCT):
    whole = only(abi.calls.iter("class-decl"), name=struct)
    size = int(whole.get("size-in-bits"))
    field = copy.deepcopy(fields(abi)["flags"])
    field.set("layout-offset-in-bits", str(size))
    field.find("var-decl").set("name", "new")
    whole.append(field)
    whole.set("size-in-bits", str(size + 64))


def append_to_fixed(abi):
    append_field(abi, FIXED)


def append_and_swap(abi):
    append_field(abi)
    swap_fields(abi)


def name_reserved(abi):
    fields(abi)["reserved"].find("var-decl").set("name", "numa_node")


def rename_field(abi):
    fields(abi)["flags"].find("var-decl").set("name", "bits")


def narrow_field(abi):
    flags, purpose = (fields(abi)[name].find("var-decl") for name in ("flags", "purpose"))
    flags.set("type-id", purpose.get("type-id"))


def narrow_parameter(abi):
    addr = only(call(abi).iter("parameter"), name="addr")
    addr.set("type-id", fields(abi)["purpose"].find("var-decl").get("type-id"))


def drop_parameter(abi):
    call(abi).remove(only(call(abi).iter("parameter"), name="len"))


def swap_parameters(abi):
    addr, length = (only(call(abi).iter("parameter"), name=name) for name in ("addr", "len"))
    addr.set("name", "len")
    length.set("name", "addr")


def rename_parameter(abi):
    only(call(abi).iter("parameter"), name="addr").set("name", "address")


def change_result(abi):
    call(abi).find("return").set("type-id", fields(abi)["flags"].find("var-decl").get("type-id"))


def change_callback(abi):
    for kind in abi.calls.iter("class-decl"):
        kind.set("name", kind.get("name").replace("c_void, u64, u64)", "c_void, u64, u32)"))


def change_symbol_version(abi):
    for symbol in abi.calls.iter("elf-symbol"):
        symbol.set("version", "GUESTMEM_99")


def change_soname(abi):
    abi.calls.set("soname", "libguestmem.so.99")


def change_constant(abi):
    abi.constants["GUESTMEM_E_OS"] = "-15"


def remove_constant(abi):
    del abi.constants["GUESTMEM_E_OS"]


def add_constant(abi):
    abi.constants["GUESTMEM_NEW_CONSTANT"] = "1"


BREAKS = {
    remove_call: CALL,
    swap_fields: "'u64 align' offset changed",
    append_to_fixed: FIXED,
    append_and_swap: "'u64 align' offset changed",
    rename_field: "bits",
    narrow_field: "'u64 flags' changed",
    narrow_parameter: "parameter 2 of type 'u64' changed",
    drop_parameter: CALL,
    swap_parameters: "parameters changed places: mem, addr, buf, len",
    change_result: "return type changed",
    change_callback: "c_void, u64, u32)",
    change_symbol_version: f"{CALL}@@GUESTMEM_0",
    change_soname: "libguestmem.so.99",
    change_constant: "GUESTMEM_E_OS was -16; now -15",
    remove_constant: "GUESTMEM_E_OS was -16; now it is not there",
}

ADDS = {
    add_call: "guestmem_new_call",
    append_field: "1 data member insertion",
    name_reserved: "numa_node",
    rename_parameter: "mem, address, buf, len",
    add_constant: "GUESTMEM_NEW_CONSTANT 1 is new",
}


def run(abi, compare):
    """compare gives what breaks and what is unrecorded, as lists of texts."""
    assert compare(abi, abi) == ([], []), "what is the same is not seen to be"
    for change in [*BREAKS, *ADDS]:
        changed = copy.deepcopy(abi)
        change(changed)
        broken, unrecorded = ("\n".join(findings) for findings in compare(abi, changed))
        if change in BREAKS:
            assert BREAKS[change] in broken, f"{change.__name__} goes unnoticed: {broken[:400]}"
        else:
            assert not broken, f"{change.__name__} breaks nothing: {broken[:400]}"
            assert ADDS[change] in unrecorded, f"{change.__name__}: {unrecorded[:400]}"
