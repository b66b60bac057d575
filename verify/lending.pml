// Lent pages (docs/growth.md): while a CPU runs a thread, the pages that the thread's stack lacks are mapped to frames of
// that CPU's reserve, with an access flag of 0. When the thread leaves, entries that are still untouched are taken back by
// one compare-and-swap each, without an invalidation.
//
// Frames have identities. Walkers cache what they may, and set flags whenever they like. Every access checks that the frame
// which it reaches is the running thread's, and that there is one: a stack fault does not exist. reserve.pml has the rest:
// to it, pages that a thread keeps have grown at that moment.

#define CPUS    2
#define THREADS 2
#define PAGES   2     /* of each stack, below the top page, which is always the thread's */
#ifndef FRAMES
#define FRAMES  3
#endif
#define NONE    255

/* An entry: empty, or 1 + frame with flag 0, or with flag 1, or invalid and still naming the frame. */
#define TOUCHED 32
#define RETIRED 64
#define frameOf(e)     (((e) & 31) - 1)
#define isValid(e)     ((e) != 0 && (e) < RETIRED)
#define isUntouched(e) ((e) != 0 && (e) < TOUCHED)

/* The owner of a frame; free ones are anybody's: an access that reaches one is found. */
#define FREE       0
#define reserve(c) (1 + (c))
#define lent(c)    (3 + (c))
#define stack(t)   (5 + (t))

byte owner[FRAMES];
bool dirty[FRAMES];
byte entry[THREADS * PAGES];   /* page 0 is the lower one */
byte tlb[CPUS * THREADS * PAGES];
bool busy[THREADS];            /* runs, or is being shrunk */

#define at(t, p)        entry[(t) * PAGES + (p)]
#define cached(c, t, p) tlb[((c) * THREADS + (t)) * PAGES + (p)]

/* ---- The hardware ---- */

/* What a walker caches it has found with its flag set, or has set it, in one step with the comparison. */
inline walk(c, t, p) {
  d_step { isValid(at(t, p)) && cached(c, t, p) == 0 ->
    at(t, p) = at(t, p) | TOUCHED; cached(c, t, p) = 1 + frameOf(at(t, p)) }
}
inline evict(c, t, p) { d_step { cached(c, t, p) != 0 -> cached(c, t, p) = 0 } }

#ifdef LATE_UPDATE
/* A CPU that sets the flag some time after it has used the entry, whatever the entry is by then. */
inline walkLate(c, t, p) {
  d_step { isValid(at(t, p)) && cached(c, t, p) == 0 -> cached(c, t, p) = 1 + frameOf(at(t, p)) }
}
#endif

proctype walker(byte c) {
  do
  :: walk(c, 0, 0)
  :: walk(c, 0, 1)
  :: walk(c, 1, 0)
  :: walk(c, 1, 1)
  :: evict(c, 0, 0)
#ifdef LATE_UPDATE
  :: walkLate(c, 0, 0)
#endif
  od
}

/* A store to a page of the thread that runs. */
inline access(c, t, p) {
  d_step {
    if
    :: cached(c, t, p) == 0 ->
       assert(isValid(at(t, p)));   /* no stack fault */
       at(t, p) = at(t, p) | TOUCHED; cached(c, t, p) = 1 + frameOf(at(t, p))
    :: else
    fi;
    f = cached(c, t, p) - 1;
    assert(owner[f] == lent(c) || owner[f] == stack(t));
    dirty[f] = true; f = 0 }
}

/* ---- The allocator ---- */

inline find(wanted) {
  f = 0;
  do
  :: f < FRAMES && owner[f] != wanted -> f++
  :: else -> break
  od
}

inline refill(c) {
  d_step { find(FREE);
    if
    :: f < FRAMES -> assert(!dirty[f]); owner[f] = reserve(c)
    :: else
    fi;
    f = 0 }
}
inline releaseReserve(c) {
  d_step { find(reserve(c));
    if
    :: f < FRAMES -> owner[f] = FREE
    :: else
    fi;
    f = 0 }
}

/* The same check as before growth by faults: a frame for each page that is missing. */
inline missing(t) { need = (at(t, 0) == 0) + (at(t, 1) == 0) }
inline count(c) {
  have = 0; f = 0;
  do
  :: f < FRAMES -> if :: owner[f] == reserve(c) -> have++ :: else fi; f++
  :: else -> break
  od;
  f = 0
}
#ifdef NO_CHECK_AT_SWITCH
#define mayRun true
#else
#define mayRun (have >= need)
#endif

inline lend(c, t, p) {
  if
  :: at(t, p) == 0 ->
     find(reserve(c));
     if
     :: f < FRAMES -> owner[f] = lent(c); at(t, p) = 1 + f
     :: else
     fi;
     f = 0
  :: else
  fi
}

/* A page that was touched, and all above it, are the thread's from now on. */
inline keep(c, t, p) {
  f = frameOf(at(t, p));
  if
  :: owner[f] == lent(c) -> owner[f] = stack(t)
  :: else
  fi;
  f = 0
}
inline giveUp(c, t, p) {
  f = frameOf(seen); owner[f] = reserve(c); assert(!dirty[f]); f = 0
}
inline takeBack(c, t, p) {
#ifdef LOOK_AND_STORE
  seen = at(t, p);
  d_step {
    if
    :: isUntouched(seen) && !kept -> at(t, p) = 0; giveUp(c, t, p)
    :: else -> if :: isValid(at(t, p)) -> keep(c, t, p); kept = true :: else fi
    fi }
#else
  d_step {
    seen = at(t, p);
    if
    :: isUntouched(seen) && !kept && owner[frameOf(seen)] == lent(c) -> at(t, p) = 0; giveUp(c, t, p)
    :: else -> if :: isValid(at(t, p)) -> keep(c, t, p); kept = true :: else fi
    fi }
#endif
}

/* Another CPU may run the thread as soon as it is not busy. */
inline runThread(c, t) {
  d_step { !busy[t] -> busy[t] = true; missing(t); count(c) };
  if
  :: mayRun ->
     d_step { lend(c, t, 0); lend(c, t, 1) };
     do
     :: access(c, t, 0)
     :: access(c, t, 1)
     :: break
     od;
     kept = false;
#ifdef LEAVES_FIRST
     busy[t] = false;
     takeBack(c, t, 0);
     takeBack(c, t, 1)
#else
     takeBack(c, t, 0);
     takeBack(c, t, 1);
     busy[t] = false
#endif
  :: else -> busy[t] = false
  fi;
  d_step { need = 0; have = 0; kept = false; seen = 0 }
}

/* A sleeper's pages go: lowest first, all at once here. */
inline retire(t, p) {
  if
  :: isValid(at(t, p)) -> at(t, p) = frameOf(at(t, p)) + 1 + RETIRED
  :: else
  fi
}
inline drop(c) {
  d_step {
    if :: !isValid(at(0, 0)) -> cached(c, 0, 0) = 0 :: else fi;
    if :: !isValid(at(0, 1)) -> cached(c, 0, 1) = 0 :: else fi;
    if :: !isValid(at(1, 0)) -> cached(c, 1, 0) = 0 :: else fi;
    if :: !isValid(at(1, 1)) -> cached(c, 1, 1) = 0 :: else fi }
}
inline release(t, p) {
  if
  :: at(t, p) >= RETIRED -> f = frameOf(at(t, p) - RETIRED); at(t, p) = 0; owner[f] = FREE; dirty[f] = false; f = 0
  :: else
  fi
}
inline shrink(t) {
  d_step { !busy[t] && isValid(at(t, 1)) -> busy[t] = true; retire(t, 0); retire(t, 1) };
#ifdef RELEASED_BEFORE_INVALIDATION
  d_step { release(t, 0); release(t, 1); busy[t] = false };
  drop(0);
  drop(1)
#else
  drop(0);
  drop(1);
  d_step { release(t, 0); release(t, 1); busy[t] = false }
#endif
}

/* Must not be: the flag of a page that is the thread's is cleared without an invalidation, and the page counts as lent. */
inline age(t, p) {
  d_step { !busy[t] && isValid(at(t, p)) -> at(t, p) = 1 + frameOf(at(t, p)); owner[frameOf(at(t, p))] = lent(0) }
}

proctype cpu(byte c) {
  byte f, seen, need, have;
  bool kept;
  do
  :: refill(c)
  :: releaseReserve(c)
  :: runThread(c, 0)
  :: runThread(c, 1)
  :: c == 0 -> shrink(0)
#ifdef FLAGS_CLEARED
  :: age(0, 1)
#endif
  od
}

init {
  atomic { run cpu(0); run cpu(1); run walker(0); run walker(1) }
}
