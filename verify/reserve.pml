// The reserve invariant (docs/stack-growth.md): every transition that moves a frame or a thread,
// and the processes that make them in every order. Frames are counted; contents.pml and tlb.pml tell them apart.
//
// Each transition is an inline of its own: when it may happen, and what it does, in one step. The processes at the end
// are only the control flow between them. replay.pml replays traces of the simulated machine by the same inlines.

#ifndef CPUS
#define CPUS 2
#endif
#ifndef THREADS
#define THREADS 3
#endif
#ifndef PAGES
#define PAGES 3     /* of a stack */
#endif
#ifndef FRAMES
#define FRAMES 7    /* in the whole machine */
#endif
#ifndef OTHERS
#define OTHERS 1    /* at most, of them, are held by forks and processes */
#endif
#ifndef COUNT
#define COUNT byte  /* a replay has more frames than a byte counts */
#endif

#define RESERVE (PAGES - 1)       /* the limit of a CPU's reserve */
#ifndef POOL
#define POOL    (RESERVE * CPUS)  /* the limit of the pool */
#endif
#define NONE    255

/* Where a thread is. `considered`: out of every queue, while a CPU looks whether it can back it. */
mtype:place = { ready, considered, waiting, running, sleeping, claimed };

COUNT source;           /* frames that the frame source could give */
COUNT others;           /* what others hold: all but stacks */
COUNT pool;
byte reserve[CPUS];
byte current[CPUS];     /* the thread that runs there, or is being left; or NONE: idle */
byte candidate[CPUS];   /* the thread that this CPU considers, or NONE */
bool allowed[CPUS];     /* whether it may take frames for its candidate */
mtype:place place[THREADS];
byte mapped[THREADS];   /* pages, from the top */
byte lifted[THREADS];   /* pages of a claimed thread whose entries are retired: their frames have no owner */
byte live[THREADS];     /* of a thread that a CPU has left: pages with something at or above its stack pointer */
bool wanted[THREADS];   /* woken while the shrinker has claimed it */
bool serving;           /* a CPU considers the first that waits: one at a time */
bool covered[THREADS];  /* the invalidation of its retired pages has completed */
byte shrinks[THREADS];  /* the shrinker that has claimed it: 1 + its CPU */
chan queue[CPUS] = [THREADS] of { byte };
chan waiters = [THREADS] of { byte };   /* for a refill, in the order in which they came */

/* Where a thread leaves a queue of those that are ready: a trace does not tell their order. */
#ifdef REPLAY
#define FIRST ??
#else
#define FIRST ?
#endif

/* Within a step only. */
short sum;
byte i, n, x;

#define need(t)     (PAGES - mapped[t])
#define serves(c)   (candidate[c] != NONE && place[candidate[c]] == waiting)
#define isBacked(c) (reserve[c] >= need(candidate[c]))

inline check() {
  sum = source + others + pool;
  for (i : 0 .. CPUS - 1) {
    sum = sum + reserve[i];
    assert(current[i] == NONE || reserve[i] >= need(current[i]));
    assert(reserve[i] <= RESERVE)
  }
  for (i : 0 .. THREADS - 1) { sum = sum + mapped[i] + lifted[i] }
  assert(sum == FRAMES);
  assert(pool <= POOL);
  sum = 0; i = 0
}

/* ---- Refilling (ThreadStackAllocator+Growth: prepareToRun, fill, takeFromRefillPool, fillRefillPool) ---- */

inline refillFromSource(onCPU) {
  d_step { (candidate[onCPU] != NONE && allowed[onCPU] && source > 0 && reserve[onCPU] < RESERVE) ->
    source--; reserve[onCPU]++; check() }
}
inline refillFromPool(onCPU) {
  d_step { (candidate[onCPU] != NONE && allowed[onCPU] && pool > 0 && reserve[onCPU] < RESERVE) ->
    pool--; reserve[onCPU]++; check() }
}
inline fillPool() {
  d_step { (source > 0 && pool < POOL) -> source--; pool++; check() }
}
inline releaseReserve(onCPU) {
  d_step { (current[onCPU] == NONE && candidate[onCPU] == NONE) ->
    n = (reserve[onCPU] < POOL - pool -> reserve[onCPU] : POOL - pool);
    pool = pool + n; source = source + reserve[onCPU] - n; reserve[onCPU] = 0; n = 0; check() }
}

/* ---- Switching (ThreadScheduler.next) ---- */

/* How deep a thread is matters while it sleeps, and otherwise only to some properties. */
#ifdef DEPTHS
#define forget(t) skip
#else
#define forget(t) live[t] = 0
#endif

inline considerFirst(onCPU, ofThread) {
  d_step { (candidate[onCPU] == NONE && !serving && waiters?[eval(ofThread)]) ->
    candidate[onCPU] = ofThread; serving = true; allowed[onCPU] = true }
}
/* Frames go to the first that waits; to others only while no thread waits. */
inline consider(onCPU, fromCPU, ofThread) {
  d_step { (candidate[onCPU] == NONE && queue[fromCPU]FIRST[eval(ofThread)]) ->
    queue[fromCPU]FIRST eval(ofThread); place[ofThread] = considered; candidate[onCPU] = ofThread;
#ifdef NO_WAITERS_FIRST
    allowed[onCPU] = true
#else
    allowed[onCPU] = (len(waiters) == 0)
#endif
  }
}
/* The thread that leaves stays the current one, and in no queue, until this: then it is ready or asleep. */
inline leaveReady(onCPU, livePages) {
  x = current[onCPU]; live[x] = livePages; place[x] = ready; queue[onCPU]!x; current[onCPU] = NONE; x = 0
}
inline leaveAsleep(onCPU, livePages) {
  live[current[onCPU]] = livePages; place[current[onCPU]] = sleeping; current[onCPU] = NONE
}
#ifdef NO_CHECK_AT_SWITCH
#define mayRun(c) true
#else
#define mayRun(c) isBacked(c)
#endif
inline switchIn(onCPU) {
  d_step { (candidate[onCPU] != NONE && current[onCPU] == NONE && mayRun(onCPU)) ->
    x = candidate[onCPU];
    if
    :: place[x] == waiting -> waiters?eval(x); serving = false
    :: else
    fi;
    place[x] = running; current[onCPU] = x; live[x] = 0; candidate[onCPU] = NONE; allowed[onCPU] = false; x = 0; check() }
}
inline putOff(onCPU) {
  d_step { (candidate[onCPU] != NONE && !isBacked(onCPU)) ->
    x = candidate[onCPU];
    if
    :: place[x] == considered -> place[x] = waiting; waiters!x
    :: else -> serving = false
    fi;
    candidate[onCPU] = NONE; allowed[onCPU] = false; x = 0 }
}
inline wake(onCPU, ofThread) {
  d_step { (place[ofThread] == sleeping || (place[ofThread] == claimed && !wanted[ofThread] && !(waiters??[eval(ofThread)]))) ->
    if
    :: place[ofThread] == claimed -> wanted[ofThread] = true
    :: else -> place[ofThread] = ready; forget(ofThread); queue[onCPU]!ofThread
    fi }
}

/* ---- Growth (StackGrower) ---- */

inline grow(onCPU, byPages) {
  d_step { (current[onCPU] != NONE && byPages <= need(current[onCPU])) ->
    n = byPages;
    assert(reserve[onCPU] >= n);
    reserve[onCPU] = reserve[onCPU] - n; mapped[current[onCPU]] = mapped[current[onCPU]] + n; n = 0; check() }
}

/* ---- Shrinking (ThreadScheduler+Shrink, ThreadStackAllocator+Shrink) ---- */

/* A thread that sleeps; or one that is ready or waits behind the first, by the CPU that serves that. */
inline claim(onCPU, ofThread) {
  d_step { (place[ofThread] == sleeping || ((place[ofThread] == waiting || place[ofThread] == ready) && serves(onCPU) && candidate[onCPU] != ofThread)) ->
    if
    :: place[ofThread] == ready ->   /* and ready again afterwards */
       wanted[ofThread] = true;
       for (i : 0 .. CPUS - 1) {
         if
         :: queue[i]??[eval(ofThread)] -> queue[i]??eval(ofThread)
         :: else
         fi
       }
       i = 0
    :: else
    fi;
    place[ofThread] = claimed; shrinks[ofThread] = onCPU + 1 }
}
inline retire(ofThread, byPages) {
  d_step { (place[ofThread] == claimed && live[ofThread] + byPages <= mapped[ofThread]) ->
    n = byPages; covered[ofThread] = false; mapped[ofThread] = mapped[ofThread] - n; lifted[ofThread] = lifted[ofThread] + n; n = 0; check() }
}
/* One for all threads that this shrinker has claimed. */
inline invalidate(onCPU) {
  d_step {
    for (i : 0 .. THREADS - 1) {
      if
      :: place[i] == claimed && shrinks[i] == onCPU + 1 -> covered[i] = true
      :: else
      fi
    }
    i = 0
  }
}
inline releasePage(ofThread) {
  d_step { (place[ofThread] == claimed && covered[ofThread] && lifted[ofThread] > 0) ->
    lifted[ofThread]--;
    if
    :: pool < POOL -> pool++
    :: else -> source++
    fi;
    check() }
}
inline putBack(ofThread) {
  d_step { (place[ofThread] == claimed) ->
    mapped[ofThread] = mapped[ofThread] + lifted[ofThread]; lifted[ofThread] = 0; check() }
}
inline unclaim(onCPU, ofThread) {
  d_step { (place[ofThread] == claimed && lifted[ofThread] == 0) ->
    covered[ofThread] = false; shrinks[ofThread] = 0;
    if
    :: waiters??[eval(ofThread)] -> place[ofThread] = waiting
    :: !(waiters??[eval(ofThread)]) && wanted[ofThread] -> wanted[ofThread] = false; forget(ofThread); place[ofThread] = ready; queue[onCPU]!ofThread
    :: !(waiters??[eval(ofThread)]) && !wanted[ofThread] -> place[ofThread] = sleeping
    fi }
}

/* ---- Others ---- */

#if defined(NO_WAITERS_FIRST) || defined(OTHERS_DONT_WAIT)
#define mayAllocate true
#else
#define mayAllocate (len(waiters) == 0)
#endif
inline othersTake(frames) {
  d_step { (frames <= source && others + frames <= OTHERS && mayAllocate) ->
    source = source - frames; others = others + frames; check() }
}
inline othersGive(frames) {
  d_step { (frames <= others) -> others = others - frames; source = source + frames; check() }
}

inline start() {
  d_step {
    for (i : 0 .. CPUS - 1) { current[i] = NONE; candidate[i] = NONE }
    for (i : 0 .. THREADS - 1) { mapped[i] = 1; live[i] = 1; forget(i); place[i] = ready; queue[i % CPUS]!i }
    source = FRAMES - THREADS;
    i = 0
  }
}

#ifndef REPLAY

inline leave(c) {
  if
  :: current[c] == NONE
#ifdef DEPTHS
  :: current[c] != NONE -> leaveReady(c, 1)
  :: current[c] != NONE && mapped[current[c]] > 1 -> leaveReady(c, mapped[current[c]])
#else
  :: current[c] != NONE -> leaveReady(c, 0)
#endif
  :: current[c] != NONE -> leaveAsleep(c, 1)
  :: current[c] != NONE && mapped[current[c]] > 1 -> leaveAsleep(c, mapped[current[c]])
  fi
}

#ifdef DEPTHS
/* The CPU that serves the first waiting thread shrinks threads that sleep, wait behind it, or are ready. */
#ifdef READY_KEEP_THEIRS
#define isListed(t) (place[t] == sleeping || place[t] == waiting && t != candidate[c])
#else
#define isListed(t) (place[t] == sleeping || place[t] == ready || place[t] == waiting && t != candidate[c])
#endif
#define shrinkableNow(t) (serves(c) && !isBacked(c) && isListed(t) && mapped[t] > live[t])
inline shrinkNow(t) {
  claim(c, t);
  retire(t, (mapped[t] - live[t]));
  invalidate(c);
  do
  :: releasePage(t)
  :: else -> break
  od;
  unclaim(0, t)
}
#endif

inline refill(c) {
#ifdef DEPTHS
  atomic {
    do
    :: shrinkableNow(0) -> shrinkNow(0)
    :: shrinkableNow(1) -> shrinkNow(1)
#if THREADS > 2
    :: shrinkableNow(2) -> shrinkNow(2)
#endif
    :: else -> break
    od
  };
#endif
  do
  :: refillFromSource(c)
  :: else -> break
  od;
  atomic {
    do
    :: reserve[c] == RESERVE && allowed[c] && source > 0 && pool < POOL -> fillPool()
    :: else -> break
    od
  };
  atomic {
    do
    :: !isBacked(c) && allowed[c] && pool > 0 -> refillFromPool(c)
    :: else -> break
    od
  }
}

proctype cpu(byte c) {
choose:
  atomic {
    if
    :: len(waiters) > 0 && !serving -> waiters?<x>; considerFirst(c, x); x = 0
    :: else -> goto own
    fi
  };
look:
  refill(c);
  atomic {
    if
    :: mayRun(c) -> leave(c); switchIn(c); goto go
    :: else -> putOff(c)
    fi
  };
own:
  atomic {
    if
    :: len(queue[c]) > 0 -> queue[c]?<x>; consider(c, c, x); x = 0; goto look
    :: len(queue[c]) == 0 && current[c] != NONE -> goto go   /* it need not leave */
    :: len(queue[c]) == 0 && len(queue[CPUS - 1 - c]) > 0 -> queue[CPUS - 1 - c]?<x>; consider(c, CPUS - 1 - c, x); x = 0; goto look
    :: len(queue[c]) == 0 && len(queue[CPUS - 1 - c]) == 0 -> leave(c)   /* it idles */
    fi;
    if
    :: len(waiters) > 0 -> releaseReserve(c)
    :: else
    fi;
    goto choose
  };
go:
  if
  :: need(current[c]) > 0 -> grow(c, 1)
  :: need(current[c]) > 1 -> grow(c, need(current[c]))
  :: true
  fi;
  goto choose
}

#define shrinkable(t) (place[t] == sleeping && mapped[t] > live[t])

/* While a thread waits for frames, even a thread that was woken loses its dead pages. */
#ifdef PUT_BACK_WHENEVER_WOKEN
#define isPutBack(t) wanted[t]
#else
#define isPutBack(t) (wanted[t] && len(waiters) == 0)
#endif

inline shrink(t) {
  atomic { shrinkable(t) -> claim(0, t); retire(t, (mapped[t] - live[t])) };
  atomic {
    invalidate(0);
    if
    :: isPutBack(t) -> putBack(t)
    :: else ->
       do
       :: releasePage(t)
       :: else -> break
       od
    fi
  };
  unclaim(0, t)
}

proctype shrinker() {
  do
  :: shrink(0)
  :: shrink(1)
#if THREADS > 2
  :: shrink(2)
#endif
  od
}

proctype environment() {
  do
  :: othersTake(1)
  :: othersGive(1)
  :: wake(0, 0)
  :: wake(CPUS - 1, 1)
#if THREADS > 2
  :: wake(0, 2)
#endif
  od
}

/* ---- Liveness: what must not happen for ever, under weak fairness ---- */

#ifndef WHO
#define WHO 0
#endif
#ifdef DEPTHS
#define pagesOf(t) (place[t] == running -> mapped[t] : live[t])
#else
#define pagesOf(t) (mapped[t] + lifted[t])
#endif
#if THREADS > 2
#define liveFrames (pagesOf(0) + pagesOf(1) + pagesOf(2))
#else
#define liveFrames (pagesOf(0) + pagesOf(1))
#endif
/* Live stack pages and a full reserve for each CPU fit into what others don't hold. */
#define fits       (FRAMES - others >= liveFrames + RESERVE * CPUS)
#define isRunnable (place[WHO] == ready || place[WHO] == considered || place[WHO] == waiting || (place[WHO] == claimed && (wanted[WHO] || waiters??[WHO])))

#ifdef FITS_AGAIN_AND_AGAIN
/* A thread that could run never does, although the condition holds again and again. */
never {
  do
  :: true
  :: isRunnable -> break
  od;
hungry:
  do
  :: isRunnable && !fits
  :: isRunnable && fits -> goto accept
  od;
accept:
  if
  :: isRunnable -> goto hungry
  fi
}
#endif
#ifdef FITS_FROM_THEN_ON
/* A thread that could run never does, although the condition holds from some moment on. */
never {
  do
  :: true
  :: isRunnable && fits -> break
  od;
accept:
  do
  :: isRunnable && fits
  od
}
#endif

init { atomic { start(); run cpu(0);
#if CPUS > 1
  run cpu(1);
#endif
#if CPUS > 1 || !defined(DEPTHS) || defined(WOKEN_WHILE_CLAIMED)
  run shrinker();
#endif
  run environment() } }
#endif
