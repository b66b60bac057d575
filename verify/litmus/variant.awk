# Writes a litmus test with changes made to it: awk -v name=NAME -v changes=CHANGES -f variant.awk BASE.litmus
#
# Changes are separated by semicolons. Each is made in the thread that it names, at the first place that fits:
#
#     P0: STLRB WZR,[X0] => STRB WZR,[X0]         one instruction instead of another
#     P1: LDAXR X16,[X0] ... CBNZ W16,E1 => NOP    one instead of all from the first to the last
#
# An instruction keeps its label. A change that fits nowhere is an error.

function trim(text) {
  gsub(/^ +| +$/, "", text)
  return text
}

function fail(message) {
  print FILENAME ": " message > "/dev/stderr"
  failed = 1
  exit 1
}

# Makes one change in the table of instructions: cell[row, column].
function change(text, sides, range, thread, row, label, inside, done) {
  if (split(text, sides, "=>") != 2 || !match(text, /^ *P[0-9]+:/)) fail("no change: " text)
  thread = substr(trim(substr(text, 1, RLENGTH - 1)), 2) + 1
  range[2] = ""
  split(substr(sides[1], RLENGTH + 1), range, " [.][.][.] ")
  for (row = 2; row <= rows && !done; row++) {
    label = match(cell[row, thread], /^[A-Z0-9]+: /) ? substr(cell[row, thread], 1, RLENGTH) : ""
    instruction = substr(cell[row, thread], length(label) + 1)
    if (!inside && instruction == trim(range[1])) {
      cell[row, thread] = label trim(sides[2])
      if (range[2] == "") done = 1
      else inside = 1
    } else if (inside) {
      cell[row, thread] = label "NOP"
      done = instruction == trim(range[2])
    }
  }
  if (!done) fail("nothing to change: " text)
}

NR == 1 { print "AArch64 " name; next }
/^ .*;$/ && inProgram {
  rows++
  columns = split(substr($0, 1, length($0) - 1), part, "|")
  for (column = 1; column <= columns; column++) cell[rows, column] = trim(part[column])
  next
}
/^}/ { inProgram = 1 }
rows && !written {
  written = 1
  count = split(changes, list, ";")
  for (i = 1; i <= count; i++) if (trim(list[i]) != "") change(list[i])
  for (row = 1; row <= rows; row++) {
    line = ""
    for (column = 1; column <= columns; column++) line = line (column > 1 ? " | " : " ") cell[row, column]
    print line " ;"
  }
}
{ print }
END { if (!failed && !written) fail("no program") }
