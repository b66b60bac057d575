// The TLB rule (docs/virtual-memory.md): a frame, a table's frame included, or an address is used for anything new only
// after every CPU has dropped the translations that named it.
//
// Two CPUs make, use and free stacks in two slots that one last-level table maps. Freed slots wait in a batch for one
// invalidation; the table goes when no slot is in use, and its frame serves others. Each CPU has a walker that caches any
// valid entry it can see at any time. A store to an entry reaches the walkers when its CPU publishes, or before.

#define CPUS  2
#define SLOTS 2
#ifndef FRAMES
#define FRAMES 4
#endif
#ifndef BATCH
#define BATCH 2     /* the number of retired slots after which a CPU invalidates */
#endif
#define NONE  255

/* The owner of a frame: none, the table, others, or a slot. */
#define FREE     0
#define TABLE    1
#define OTHERS   2
#define slot(s)  (3 + (s))

/* An entry: empty, or 1 + frame while valid, RETIRED + 1 + frame when invalid and still naming it. */
#define RETIRED  16
#define isValid(e) ((e) != 0 && (e) < RETIRED)

mtype:life = { unused, making, live, waiting, covered };

byte owner[FRAMES];
byte entry[SLOTS];        /* newest */
byte former[SLOTS];       /* what a walker may still see; equal to the newest once that is published */
byte writer[SLOTS];       /* who has to publish it */
byte root, formerRoot;    /* the descriptor of the table: the same */
byte rootWriter;
byte tlb[CPUS * SLOTS];   /* 1 + frame, or 0 */
byte walk[CPUS];          /* the table that a walker remembers: 1 + frame, or 0 */
mtype:life life[SLOTS];
bool lock;

#define cached(c, s) tlb[(c) * SLOTS + (s)]

inline publish(c) {
  if
  :: writer[0] == c -> former[0] = entry[0]; writer[0] = NONE
  :: else
  fi;
  if
  :: writer[1] == c -> former[1] = entry[1]; writer[1] = NONE
  :: else
  fi;
  if
  :: rootWriter == c -> formerRoot = root; rootWriter = NONE
  :: else
  fi
}
inline store(c, s, value) {
  if
  :: writer[s] == NONE -> former[s] = entry[s]
  :: else   /* an older value may still be seen */
  fi;
  entry[s] = value; writer[s] = c
}
inline storeRoot(c, value) { formerRoot = root; root = value; rootWriter = c }

/* ---- The hardware ---- */

proctype walker(byte c) {
  do
  :: d_step { walk[c] == 0 && isValid(root) -> walk[c] = root }
  :: d_step { walk[c] == 0 && isValid(formerRoot) -> walk[c] = formerRoot }
  :: d_step { walk[c] != 0 ->
       /* What it reads there is an entry. */
       assert(owner[walk[c] - 1] == TABLE);
       if
       :: cached(c, 0) == 0 && isValid(entry[0]) -> cached(c, 0) = entry[0]
       :: else
       fi }
  :: d_step { walk[c] != 0 && cached(c, 1) == 0 && isValid(entry[1]) -> cached(c, 1) = entry[1] }
  :: d_step { walk[c] != 0 && cached(c, 0) == 0 && isValid(former[0]) -> cached(c, 0) = former[0] }
  :: d_step { walk[c] != 0 && cached(c, 1) == 0 && isValid(former[1]) -> cached(c, 1) = former[1] }
  od
}

/* An access to a slot that is in use, by whichever CPU runs its thread: through what the TLB has, else through the table. */
inline access(c, s) {
  d_step { life[s] == live ->
    if
    :: cached(c, s) != 0 -> assert(owner[cached(c, s) - 1] == slot(s))
    :: else -> assert(owner[entry[s] - 1] == slot(s))
    fi }
}

/* ---- The allocator ---- */

inline take(f, as) {
  if
  :: owner[0] == FREE -> f = 0
  :: owner[1] == FREE -> f = 1
  :: owner[2] == FREE -> f = 2
  :: owner[FRAMES - 1] == FREE -> f = FRAMES - 1
  :: else -> f = NONE
  fi;
  if
  :: f != NONE -> owner[f] = as
  :: else
  fi
}

inline allocate(c, s) {
  d_step { !lock && life[s] == unused -> lock = true };
  if
  :: root == 0 ->
     d_step { take(f, TABLE); if :: f != NONE -> storeRoot(c, f + 1) :: else fi; f = 0 };
     d_step { publish(c) }
  :: else
  fi;
  d_step {
    if
    :: root != 0 -> take(f, slot(s)); if :: f != NONE -> store(c, s, f + 1); life[s] = making :: else fi
    :: else
    fi;
    f = 0 };
  d_step { publish(c); if :: life[s] == making -> life[s] = live :: else fi; lock = false }
}

/* Every CPU drops what names a retired or empty entry; the non-leaf kind drops tables as well. */
inline drop(c, tables) {
  if
  :: !isValid(entry[0]) -> cached(c, 0) = 0
  :: else
  fi;
  if
  :: !isValid(entry[1]) -> cached(c, 1) = 0
  :: else
  fi;
  if
  :: tables -> walk[c] = 0; cached(c, 0) = 0; cached(c, 1) = 0
  :: else
  fi
}
inline invalidate(c, tables) {
  d_step { publish(c) };
  d_step { drop(0, tables) };
  d_step { drop(1, tables) }
}

inline cover() {
  for (f : 0 .. SLOTS - 1) {
    if
    :: life[f] == waiting -> life[f] = covered
    :: else
    fi
  }
  f = 0
}

inline retire(c, s) {
  d_step { !lock && life[s] == live -> lock = true; store(c, s, RETIRED + entry[s]); life[s] = waiting };
#ifndef INVALIDATION_BEFORE_PUBLISH
  d_step { publish(c) };
#endif
  if
  :: (life[0] == waiting) + (life[1] == waiting) >= BATCH ->
#ifdef REUSE_BEFORE_INVALIDATION
     d_step { cover(); lock = false };
     invalidate(c, false)
#else
     invalidate(c, false);
     d_step { cover(); lock = false }
#endif
  :: else -> lock = false
  fi
}

/* The frame goes back, and the slot's address is free. */
inline drain(c, s) {
  d_step { !lock && life[s] == covered ->
    owner[(entry[s] - RETIRED) - 1] = FREE; store(c, s, 0); publish(c); life[s] = unused }
}
/* A thread that was being shrunk is wanted: the same frame at the same address. */
inline putBack(c, s) {
  d_step { !lock && (life[s] == waiting || life[s] == covered) -> lock = true; store(c, s, entry[s] - RETIRED) };
  d_step { publish(c); life[s] = live; lock = false }
}
#ifdef LEAVES_ONLY_FOR_TABLE
#define KIND false
#else
#define KIND true
#endif
inline releaseTable(c) {
  d_step { !lock && isValid(root) && life[0] == unused && life[1] == unused -> lock = true; storeRoot(c, RETIRED + root) };
  d_step { publish(c) };
  invalidate(c, KIND);
  d_step { owner[(root - RETIRED) - 1] = FREE; root = 0; formerRoot = 0; lock = false }
}
/* Memory pressure: the batch is not full. */
inline reclaim(c) {
  d_step { !lock && (life[0] == waiting || life[1] == waiting) -> lock = true };
  invalidate(c, false);
  d_step { cover(); lock = false }
}

proctype cpu(byte c) {
  byte f;
  do
  :: allocate(c, 0)
  :: allocate(c, 1)
  :: access(c, 0)
  :: access(c, 1)
  :: retire(c, 0)
  :: retire(c, 1)
  :: drain(c, 0)
  :: drain(c, 1)
  :: putBack(c, 0)
  :: putBack(c, 1)
  :: reclaim(c)
  :: releaseTable(c)
  od
}

proctype environment() {
  byte f;
  do
  :: d_step { take(f, OTHERS); f = 0 }
  :: d_step { owner[0] == OTHERS -> owner[0] = FREE }
  :: d_step { owner[1] == OTHERS -> owner[1] = FREE }
  :: d_step { owner[2] == OTHERS -> owner[2] = FREE }
  od
}

init {
  atomic {
    writer[0] = NONE; writer[1] = NONE; rootWriter = NONE; life[0] = unused; life[1] = unused;
    run cpu(0); run cpu(1); run walker(0); run walker(1); run environment()
  }
}
