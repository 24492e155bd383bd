# Runs inside gdb: stops at every line-table address of one source file and prints what gdb says of the variables there.
# One line for each value: address, number of the hit, expression in the script language, value, "-" where it is not
# available, "~" where its location asks for a value of the function's entry, which gdb finds only where the caller has
# kept it, "e" where gdb fails.
import gdb
import os
import struct

# Functions whose files are looked at, and variables as `unit:name` that are asked for everywhere.
FUNCTIONS = os.environ["FUNCTIONS"].split()
ELSEWHERE = os.environ["ELSEWHERE"].split()
HITS = int(os.environ["HITS"])
OUT = open(os.environ["OUT"], "w")
CODES = (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_ENUM, gdb.TYPE_CODE_PTR)
STRUCTS = (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION)


def number(value, kind):
    try:
        if value.is_optimized_out:
            return "-"
        if kind.code == gdb.TYPE_CODE_FLT:
            packed = struct.pack("<f" if kind.sizeof == 4 else "<d", float(value))
            return str(int.from_bytes(packed, "little", signed=kind.sizeof == 8))
        word = int(value) & 0xFFFFFFFFFFFFFFFF
        return str(word - (1 << 64) if word >> 63 else word)
    except gdb.MemoryError:
        return "-"
    except (gdb.error, OverflowError) as error:
        # What gdb cannot evaluate it does not know to be absent.
        return "-" if "optimized out" in str(error) else "e"


def location(name, pc, known={}):
    """How gdb describes the location of a variable at an address."""
    if (name, pc) not in known:
        within, here = True, ""
        try:
            text = gdb.execute("info address " + name, to_string=True)
        except gdb.error:
            text = ""
        for line in text.splitlines():
            if line.startswith("  Range "):
                low, high = (int(word, 16) for word in line[8:].split(":")[0].split("-"))
                within = low <= pc < high
            if within:
                here += line + "\n"
        known[(name, pc)] = here
    return known[(name, pc)]


def leaves(expression, value, kind, depth, found):
    kind = kind.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        try:
            found.append((expression, number(value.referenced_value().address, gdb.lookup_type("long").pointer())))
        except (gdb.error, gdb.MemoryError):
            found.append((expression, "-"))
        return
    if kind.code in CODES and kind.sizeof > 8:
        return
    if kind.code in CODES or (kind.code == gdb.TYPE_CODE_FLT and kind.sizeof in (4, 8)):
        found.append((expression, number(value, kind)))
    if kind.code == gdb.TYPE_CODE_PTR and depth < 1:
        target = kind.target().strip_typedefs()
        if target.code in STRUCTS and target.fields():
            try:
                if not value.is_optimized_out:
                    members(expression, value.dereference(), target, depth + 1, found)
            except (gdb.error, gdb.MemoryError):
                pass
        elif target.code in CODES or target.code == gdb.TYPE_CODE_ARRAY:
            # An index goes through a reference of Rust, and counts from a pointer of C.
            is_array = target.code == gdb.TYPE_CODE_ARRAY
            through = "" if is_array and FUNCTIONS[0].endswith("::main") else "[0]"
            try:
                if not value.is_optimized_out and int(value) > 4096:
                    leaves(expression + through, value.dereference(), target, depth + 1, found)
            except (gdb.error, gdb.MemoryError):
                pass
    elif kind.code in STRUCTS:
        members(expression, value, kind, depth, found)
    elif kind.code == gdb.TYPE_CODE_ARRAY:
        low, high = kind.range()
        for index in range(low, min(high, low + 2) + 1):
            try:
                leaves("%s[%d]" % (expression, index), value[index], kind.target(), depth + 1, found)
            except (gdb.error, gdb.MemoryError):
                pass


def members(expression, value, kind, depth, found):
    if depth > 3:
        return
    for field in kind.fields():
        if not hasattr(field, "bitpos") or field.artificial:
            continue
        try:
            inner = value[field]
        except (gdb.error, gdb.MemoryError):
            continue
        if field.is_base_class or not field.name:
            before = len(found)
            members(expression, inner, field.type.strip_typedefs(), depth + 1, found)
            # A base that is virtual, of an object that is being made: gdb reads it from elsewhere, and warns.
            if field.is_base_class and is_being_made(value):
                found[before:] = [(name, "e") for name, _ in found[before:]]
        elif field.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
            found.append(("%s->%s" % (expression, field.name), number(inner, field.type)))
        else:
            leaves("%s->%s" % (expression, field.name), inner, field.type, depth + 1, found)


def is_being_made(value):
    try:
        table = int(value.address.cast(gdb.lookup_type("long").pointer()).dereference())
        return "construction vtable" in gdb.execute("info symbol %d" % table, to_string=True)
    except (gdb.error, gdb.MemoryError, AttributeError):
        return False


def call(frame, pc):
    """The function that a frame is in, and where its caller's stack ends: what tells calls that are under way apart."""
    block = gdb.block_for_pc(pc)
    while block is not None and (block.function is None or block.superblock.function is not None):
        block = block.superblock
    while frame is not None and frame.type() == gdb.INLINE_FRAME:
        frame = frame.older()
    caller = frame.older() if frame is not None else None
    return (block.start if block is not None else 0, int(caller.read_register("rsp")) if caller is not None else 0)


# What gdb said of registers of a call at its first instruction, by expression.
AT_ENTRY = {}


def visit(pc, hits):
    frame = gdb.newest_frame()
    block = gdb.block_for_pc(pc)
    seen = set()
    this = call(frame, pc)
    if this[0] == pc:
        AT_ENTRY[this] = {}
    known = AT_ENTRY.get(this, {})
    names = []
    outer = block
    while outer is not None and not outer.is_static and not outer.is_global:
        names += [symbol.name for symbol in outer]
        outer = outer.superblock
    while block is not None and not block.is_static and not block.is_global:
        for symbol in block:
            if not (symbol.is_variable or symbol.is_argument or symbol.is_constant) or symbol.name in seen:
                continue
            if not symbol.name or "." in symbol.name or "(" in symbol.name:
                continue
            seen.add(symbol.name)
            found = []
            try:
                leaves("$" + symbol.name, symbol.value(frame), symbol.type, 0, found)
            except (gdb.error, gdb.MemoryError):
                found.append(("$" + symbol.name, "e"))
            for expression, value in found:
                if this[0] == pc:
                    # gdb counts from the stack pointer as if the prologue had run.
                    if "frame base reg $rsp" in location(symbol.name, pc):
                        value = "e"
                    elif expression == "$" + symbol.name and "a variable in $" in location(symbol.name, pc):
                        known[expression] = value
                elif names.count(symbol.name) == 1 and "entry_value" in location(symbol.name, pc):
                    # gdb asks the caller's debug information what was passed. Where that is not what the register held, as
                    # gdb itself has seen, the compiler was wrong.
                    value = "~" if value == "-" else known.get(expression, value)
                OUT.write("%d %d %s %s\n" % (pc, hits, expression, value))
        if block.function is not None:
            if hits == 1 and block.start == pc:
                OUT.write("entry %d\n" % pc)
            break
        block = block.superblock
    # They are where they are wherever one looks from.
    if hits == 1 and pc % 8 == 0:
        globals_at(pc, seen)
    OUT.flush()


def globals_at(pc, seen):
    """What the file around an address declares, and what the others do."""
    found = []
    symtab = gdb.find_pc_line(pc).symtab
    for block in (symtab.static_block(), symtab.global_block()) if symtab else ():
        for symbol in block:
            name = symbol.name
            if not symbol.is_variable or not name.isidentifier() or name in seen or str(symbol.symtab) != str(symtab):
                continue
            seen.add(name)
            leaves("$" + name, symbol.value(), symbol.type, 0, found)
    for place in ELSEWHERE:
        unit, name = place.split(":")
        value = gdb.parse_and_eval("'%s'::%s" % (unit, name))
        leaves('@var("%s@%s")' % (name, unit), value, value.type, 0, found)
    for expression, value in found:
        OUT.write("%d 1 %s %s\n" % (pc, expression, value))


for command in (
    "set pagination off",
    "set confirm off",
    "set disable-randomization on",
    "set exec-wrapper env -i",
    "set print frame-arguments none",
    "set print object off",
    "maint set internal-error quit no",
    "starti",
):
    gdb.execute(command, to_string=True)
pcs = set()
for function in FUNCTIONS:
    symbol = gdb.lookup_global_symbol(function) or gdb.lookup_static_symbol(function)
    for line in symbol.symtab.linetable():
        if line.line > 0:
            pcs.add(line.pc)
for pc in pcs:
    gdb.Breakpoint("*%d" % pc, internal=True).ignore_count = 0
HIT = {}
while True:
    gdb.execute("continue", to_string=True)
    if not gdb.selected_inferior().threads():
        break
    pc = gdb.newest_frame().pc()
    HIT[pc] = HIT.get(pc, 0) + 1
    if HIT[pc] <= HITS:
        visit(pc, HIT[pc])
OUT.close()
