// ASIDs by generations (Lab/Kernel/Sources/Scenarios/Processes/AddressSpaceTags.swift): no CPU walks an address space with an
// ASID under which it has cached translations of another.
//
// Two CPUs switch between address spaces, and end some. A walker may cache, at any time, translations of the space that TTBR0
// holds under the ASID that this holds; it does so as early as it can, since more in a cache is never less wrong. A tag is a generation and an ASID. What a CPU has stored into `used`
// reaches the other one later, but not after its next claim. Ended spaces leave what is cached of them under ASIDs that were
// theirs before: those translations count as another's.

#define CPUS 2
#ifndef SPACES
#define SPACES 2
#endif
#define IDS 5             /* ASIDs 1 to 5: two kept for each CPU, and one more */
#ifndef GENERATIONS
#define GENERATIONS 3
#endif
#define NONE 255
#define DEAD SPACES       /* the translations of spaces that are no more */

#define tagOf(g, i) ((g) * 8 + (i))
#define generationOf(t) ((t) / 8)
#define idOf(t) ((t) % 8)

byte tag[SPACES];
byte owner[SPACES];       /* the CPU that has it, or NONE */
byte claimed[CPUS], used[CPUS], unseen[CPUS];   /* unseen: stored into `used`, and not yet visible */
byte keptClaim[CPUS], keptUse[CPUS];
byte generation = 1;
byte taken;               /* a bit for each ASID */
bool lock;
byte ttbrId[CPUS], ttbrSpace[CPUS];
byte cached[CPUS * 8];    /* for each ASID, a bit for each space */

#define tlb(c, i) cached[(c) * 8 + (i)]

/* What a CPU walks it has cached; nothing of another space may be there. */
inline walk(c) {
  if
  :: ttbrSpace[c] != NONE ->
     assert((tlb(c, ttbrId[c]) & ~(1 << ttbrSpace[c])) == 0);
     tlb(c, ttbrId[c]) = 1 << ttbrSpace[c]
  :: else
  fi
}

/* Makes an earlier store to `used` visible. */
inline see(c) {
  if
  :: unseen[c] != 0 -> used[c] = unseen[c]; unseen[c] = 0
  :: else
  fi
}

inline acquire() { atomic { !lock -> lock = true } }

/* The translations of all ASIDs that are not taken; on one CPU after the other, then all have. */
inline drop() {
#ifndef NO_DROP
  n = 0;
  do
  :: n < CPUS ->
     d_step {
       i = 1;
       do
       :: i <= IDS ->
          if
          :: (taken >> i) & 1
          :: else -> tlb(n, i) = 0
          fi;
          i++
       :: else -> break
       od;
       i = 0;
       walk(n)
     }
     n++
  :: else -> break
  od;
#endif
  n = 0
}

inline rollOver() {
  generation = generation + 1;
  taken = 0;
  n = 0;
  do
  :: n < CPUS ->
     d_step {
       i = claimed[n];
#ifndef NO_EXCHANGE
       claimed[n] = 0;
#endif
       if
       :: i != 0 -> keptClaim[n] = i
       :: else
       fi;
       i = 0
     }
#ifndef USE_NOT_KEPT
     d_step { keptUse[n] = (n == c && unseen[n] != 0 -> unseen[n] : used[n]) };
#endif
     taken = taken | (1 << idOf(keptClaim[n])) | (1 << idOf(keptUse[n]));
     n++
  :: else -> break
  od;
  drop()
}

/* The lowest ASID that is free, in i; 0 if there is none. */
inline find() {
  d_step {
    i = 1;
    do
    :: i <= IDS && ((taken >> i) & 1) -> i++
    :: else -> break
    od;
    if
    :: i > IDS -> i = 0
    :: else
    fi
  }
}

inline renew(s) {
  i = 0;
  d_step {
    n = 0;
    do
    :: n < CPUS ->
       if
       :: tag[s] != 0 && keptClaim[n] == tag[s] -> keptClaim[n] = tagOf(generation, idOf(tag[s])); i = 1
       :: else
       fi;
       if
       :: tag[s] != 0 && keptUse[n] == tag[s] -> keptUse[n] = tagOf(generation, idOf(tag[s])); i = 1
       :: else
       fi;
       n++
    :: else -> break
    od;
    n = 0
  }
  if
  :: i == 1 -> tag[s] = tagOf(generation, idOf(tag[s]))
  :: else ->
     find();
     if
     :: i == 0 ->
        generation < GENERATIONS;   /* the search ends here */
        rollOver();
        find();
        assert(i != 0)
     :: else
     fi;
     taken = taken | (1 << i);
     tag[s] = tagOf(generation, i)
  fi;
  i = 0
}

proctype cpu(byte c) {
  byte space = NONE, next, last, now, i, n;
  bool isClaimed;
  do
  :: /* A space that no CPU has: the scheduler sees to it. */
     atomic {
       if
       :: owner[0] == NONE -> next = 0
       :: owner[1] == NONE -> next = 1
#if SPACES > 2
       :: owner[2] == NONE -> next = 2
#endif
       fi;
       owner[next] = c
     }
     last = claimed[c];
     now = generation;
     isClaimed = false;
     if
     :: last != 0 && generationOf(tag[next]) == now ->
#ifdef NO_COMPARE
        d_step { see(c); claimed[c] = tag[next]; isClaimed = true; last = 0; now = 0 }
#else
        d_step {
          if
          :: claimed[c] == last -> see(c); claimed[c] = tag[next]; isClaimed = true
          :: else
          fi;
          last = 0; now = 0
        }
#endif
     :: else -> last = 0; now = 0
     fi;
     if
     :: isClaimed
     :: else ->
        acquire();
        if
        :: generationOf(tag[next]) != generation -> renew(next)
        :: else
        fi;
        d_step { see(c); claimed[c] = tag[next] }
        lock = false
     fi;
#ifdef USED_TOO_EARLY
     d_step { see(c); unseen[c] = tag[next] }
#endif
     d_step { ttbrId[c] = idOf(tag[next]); ttbrSpace[c] = next; walk(c) }
#ifndef USED_TOO_EARLY
     d_step { see(c); unseen[c] = tag[next] }
#endif
     /* What the CPU had before is anybody's now. */
     d_step {
       if
       :: space != NONE -> owner[space] = NONE
       :: else
       fi;
       space = next; next = 0; isClaimed = false
     }
  :: /* The space ends: the CPU has an empty root meanwhile, and all drop what they have of its ASID. */
     space != NONE ->
     ttbrSpace[c] = NONE;
     d_step {
       n = 0;
       do
       :: n < CPUS ->
          i = 1;
          do
          :: i <= IDS ->
             if
             :: i == idOf(tag[space]) -> tlb(n, i) = 0
             :: i != idOf(tag[space]) && ((tlb(n, i) >> space) & 1) ->
                tlb(n, i) = (tlb(n, i) & ~(1 << space)) | (1 << DEAD)
             :: else
             fi;
             i++
          :: else -> break
          od;
          n++
       :: else -> break
       od;
       n = 0; i = 0;
       tag[space] = 0;
       owner[space] = NONE;
       space = NONE
     }
  od
}

/* A store becomes visible. */
proctype memory(byte c) {
  do
  :: d_step { unseen[c] != 0 -> used[c] = unseen[c]; unseen[c] = 0 }
  od
}

init {
  atomic {
    byte k = 0;
    do
    :: k < SPACES -> owner[k] = NONE; k++
    :: else -> break
    od;
    k = 0;
    do
    :: k < CPUS -> ttbrSpace[k] = NONE; run cpu(k); run memory(k); k++
    :: else -> break
    od
  }
}
