// What is in a stack's pages while they shrink and grow (docs/stack-growth.md): frames with contents, two CPUs, threads
// that go deeper, come back and look, a shrinker, and others who take frames, write into them and look.
//
// A page of a thread is a place; its entry names a frame or none. Some CPU may have cached any entry while it was valid,
// and keeps that until an invalidation completes: an access to a place whose entry is gone may still reach the old frame,
// or fault. No such access is forbidden here: what it breaks is seen in the contents of frames.

#define CPUS    2
#define THREADS 2
#ifndef PAGES
#define PAGES   3
#endif
#ifndef FRAMES
#define FRAMES  6
#endif
#define RESERVE (PAGES - 1)
#define POOL    1
#define NONE    255
#define PLACES  (THREADS * PAGES)

/* Pages count from the top: page 0 stays mapped, and page `depth` holds the stack pointer. */
#define at(t, page)   ((t) * PAGES + (page))
#define data(t, page) (at(t, page) + 1)   /* what a thread writes into its page: never 0 */
#define DIRT          99                  /* what others write */
#define ALL           ((1 << FRAMES) - 1)

mtype:place = { ready, running, sleeping, claimed };

byte entry[PLACES];          /* 1 + frame; 0: empty */
bool retired[PLACES];        /* the entry is invalid and only names its frame */
byte cached[PLACES];         /* 1 + the frame that some CPU may have cached for this place; 0: none */
byte content[FRAMES];
byte source, pool, others;   /* sets of frames, a bit each */
byte reserve[CPUS];
mtype:place place[THREADS];
byte depth[THREADS];
byte runs[CPUS] = NONE;       /* the thread */
#define current runs[c]
bool wanted[THREADS];

/* Within a step only. */
byte f, p, k, x, where;

#define has(set, frame) (((set) >> (frame)) & 1)

inline lowest(set) {
  f = 0;
  do
  :: has(set, f) -> break
  :: else -> f++
  od
}
inline count(set) {
  k = 0;
  for (x : 0 .. FRAMES - 1) { k = k + has(set, x) }
  x = 0
}

/* Every frame has exactly one owner. */
inline check() {
  for (f : 0 .. FRAMES - 1) {
    k = has(source, f) + has(pool, f) + has(others, f) + has(reserve[0], f) + has(reserve[1], f);
    for (p : 0 .. PLACES - 1) { k = k + (entry[p] == f + 1) }
    assert(k == 1)
  }
  f = 0; k = 0; p = 0
}

/* The frame f that an access to the place `where` reaches; NONE if it faults. */
inline reach() {
  if
  :: entry[where] != 0 && !retired[where] -> f = entry[where] - 1
  :: entry[where] == 0 || retired[where] -> f = NONE
  :: cached[where] != 0 -> f = cached[where] - 1
  fi
}

/* Switching in: the reserve is filled from the source, cleared, then from the pool. */
inline prepare(c, t) {
  for (p : 0 .. PAGES - 1) { where = where + (entry[at(t, p)] == 0) }
  p = 0;
  count(reserve[c]);
  do
  :: k < RESERVE && source != 0 ->
     lowest(source); source = source ^ (1 << f); reserve[c] = reserve[c] | (1 << f); content[f] = 0; k++
  :: k < where && source == 0 && pool != 0 ->
     lowest(pool); pool = pool ^ (1 << f); reserve[c] = reserve[c] | (1 << f); k++
  :: else -> break
  od;
  if
  :: k >= where -> place[t] = running; runs[c] = t
  :: else
  fi;
  f = 0; k = 0; where = 0; check()
}

inline goDeeper(c, t) {
  where = at(t, depth[t] + 1);
  reach();
  if
  :: f == NONE ->
     assert(reserve[c] != 0);
     lowest(reserve[c]); reserve[c] = reserve[c] ^ (1 << f);
     /* A page that appears reads as zero. */
     assert(content[f] == 0);
     entry[where] = f + 1;
     if
     :: cached[where] == 0 -> cached[where] = f + 1
     :: else   /* some CPU may still have the old translation */
     fi
  :: else
  fi;
  depth[t]++;
  content[f] = data(t, depth[t]);
  f = 0; where = 0; check()
}
/* What is at or above the stack pointer is what the thread wrote. */
inline look(t) {
  where = at(t, depth[t]);
  reach();
  assert(f != NONE && content[f] == data(t, depth[t]));
  f = 0; where = 0
}

proctype cpu(byte c) {
  do
  :: d_step { current == NONE && place[0] == ready -> prepare(c, 0) }
  :: d_step { current == NONE && place[1] == ready -> prepare(c, 1) }
  :: atomic { current != NONE && depth[current] + 1 < PAGES -> goDeeper(c, current) }
  :: atomic { current != NONE && depth[current] > 0 -> look(current); depth[current]-- }
  :: atomic { current != NONE -> look(current); place[current] = ready; current = NONE }
  :: atomic { current != NONE -> place[current] = sleeping; current = NONE }
  od
}

#ifdef RETIRE_PAGE_OF_SP
#define firstDead(t) (depth[t] > 0 -> depth[t] : 1)
#else
#define firstDead(t) (depth[t] + 1)
#endif
#ifdef NO_CLAIM
#define mayShrink(t) (place[t] == sleeping || place[t] == ready)
#define CLAIMED place[t]
#else
#define mayShrink(t) (place[t] == sleeping)
#define CLAIMED claimed
#endif
#ifdef POOL_NOT_ZEROED
#define CLEARED content[f]
#else
#define CLEARED 0
#endif

/* Entries of the pages wholly below the stack pointer: valid to retired. */
inline retire(t) {
  for (p : 1 .. PAGES - 1) {
    if
    :: p >= firstDead(t) && entry[at(t, p)] != 0 -> retired[at(t, p)] = true
    :: else
    fi
  }
  p = 0
}
inline invalidate() {
  for (p : 0 .. PLACES - 1) {
    if
    :: entry[p] == 0 || retired[p] -> cached[p] = 0
    :: else
    fi
  }
  p = 0
}
inline release(t) {
  for (p : 1 .. PAGES - 1) {
    where = at(t, p);
    if
    :: retired[where] ->
       f = entry[where] - 1; entry[where] = 0; retired[where] = false;
       count(pool);
       if
       :: k < POOL -> content[f] = CLEARED; pool = pool | (1 << f)
       :: else -> source = source | (1 << f)
       fi;
       f = 0; k = 0
    :: else
    fi;
    where = 0
  }
  p = 0; check()
}
inline putBack(t) {
  for (p : 1 .. PAGES - 1) { retired[at(t, p)] = false }
  p = 0
}

#define hasDead(t) (entry[at(t, PAGES - 1)] != 0 && depth[t] < PAGES - 1 || entry[at(t, 1)] != 0 && depth[t] < 1)

inline unclaim(t) {
#ifndef NO_CLAIM
  if
  :: wanted[t] -> wanted[t] = false; place[t] = ready
  :: else -> place[t] = sleeping
  fi
#else
  skip
#endif
}

inline shrink(t) {
  d_step { mayShrink(t) && hasDead(t) -> place[t] = CLAIMED };
  d_step { retire(t) };
#ifdef RELEASE_BEFORE_INVALIDATION
  d_step { release(t); unclaim(t) };
  d_step { invalidate() };
#else
  d_step { invalidate() };
  if
  :: d_step { wanted[t] -> putBack(t) }
  :: d_step { !wanted[t] -> release(t) }
  fi;
  d_step { unclaim(t) }
#endif
}

proctype shrinker() {
  do
  :: shrink(0)
  :: shrink(1)
  od
}

#ifdef SWITCH_BEFORE_PUT_BACK
#define mayWake(t) (place[t] == sleeping || place[t] == claimed)
#else
#define mayWake(t) (place[t] == sleeping)
#endif

proctype environment() {
  do
  :: d_step { mayWake(0) -> place[0] = ready }
  :: d_step { mayWake(1) -> place[1] = ready }
  :: d_step { place[0] == claimed && !wanted[0] -> wanted[0] = true }
  :: d_step { place[1] == claimed && !wanted[1] -> wanted[1] = true }
  :: d_step { source != 0 && others == 0 -> lowest(source); source = source ^ (1 << f); others = others | (1 << f); content[f] = DIRT; f = 0; check() }
  :: d_step { others != 0 -> lowest(others); assert(content[f] == DIRT); others = others ^ (1 << f); source = source | (1 << f); f = 0; check() }
  od
}

init {
  atomic {
    d_step {
      entry[at(0, 0)] = 1; cached[at(0, 0)] = 1; content[0] = data(0, 0);
      entry[at(1, 0)] = 2; cached[at(1, 0)] = 2; content[1] = data(1, 0);
      for (p : 2 .. FRAMES - 1) { source = source | (1 << p); content[p] = DIRT }
      p = 0;
      place[0] = ready; place[1] = ready
    }
    run cpu(0); run cpu(1); run shrinker(); run environment()
  }
}
