/* SPDX-License-Identifier: Apache-2.0
 *
 * The path rules of docs/protocol.md as a finite model: one session with one connection, two helpers and the direct path.
 * Searched to its end, for the bounds in libs/cli/src/postman_cli/testing/path_model.py, by `./postman test --only model`:
 *
 *   I1  each byte of both streams is delivered once, in order, and is the byte that was sent at its offset
 *   I3  the server's epoch never goes back, and it sends by the path of the highest epoch that it accepted
 *   I4  when the faults are used up, both streams complete within ROUNDS_MAX retransmission rounds
 *   C1  what the client frees, the server has
 *
 * What is modelled: RESUME by S1, S3, S4 (unplanned: the new epoch is used at once; planned, S19: after RESUME_ACK), data
 * of older epochs (S6), truncated numbers and epochs with the check over the full ones (W3, W7), windows, reordering
 * and delay without bound (so a helper that stands still, and flushes what it held when the session has moved, is
 * covered), a network that loses (LOSSES) and repeats (REPEATS: a datagram stays for a later delivery, as a replaying
 * attacker does), and helpers that die with all they hold (KILLS). What is not: forged frames (their MAC fails;
 * tests/e2e/test_attacker.py), path validation, several connections.
 *
 * A datagram is a bit in a set of its kind: sending what is already under way changes nothing. The path of a datagram is
 * the path of its epoch: an epoch has one path (S3). Of acknowledgements only the highest under way is kept: an older one
 * has no effect. Epochs are 1 ... EPOCHS; the last move goes to the direct path, which
 * never dies (without it there would be nothing to prove in I4).
 *
 * Plants, to see that the checks bite: -DPLANT_NO_CHECK (W7 trusted blindly), -DPLANT_NO_EPOCH (S3: an old RESUME moves
 * the session), -DPLANT_HOP_ACK (C1: a helper's acknowledgement frees).
 */
#ifndef REQUESTS
#define REQUESTS 5 /* bytes to the server; more than MODULUS, so that numbers wrap */
#endif
#ifndef REPLIES
#define REPLIES 2 /* bytes to the client */
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef REPEATS
#define REPEATS 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define MODULUS 4 /* of offsets on the wire; W10 has 2^16 */
#define WINDOW 2 /* bytes in flight; W10 has 2^14 */
#define ROUNDS_MAX 12
#define DIRECT 0
#define NOTHING 0

#define BIT(i) (1 << (i))
#define HAS(set, i) (((set) >> (i)) & 1)

/* --- the network: sets of datagrams under way; index of each array: the epoch --- */
byte c2s_data[EPOCHS + 1]; /* bit: offset */
byte s2c_data[EPOCHS + 1];
byte resumes[EPOCHS + 1]; /* bit: the client's rcv_nxt in it */
byte resume_acks[EPOCHS + 1]; /* bit: the server's rcv_nxt in it */
byte c2s_ack, s2c_ack; /* 1 + rcv_nxt; NOTHING: none; these go by any path */

/* --- paths --- */
byte path_of[EPOCHS + 1]; /* helper 1, 2 or DIRECT */
bit dead[3];
byte kills_left = KILLS, losses_left = LOSSES, repeats_left = REPEATS;

/* --- client: sends requests (offsets 0 ...), receives replies --- */
byte c_una, c_nxt, c_rcv, c_epoch = 1, c_planned; /* c_planned: epoch asked for by a planned move; 0: none */
bit c_resuming; /* unplanned RESUME without an answer: no new bytes */
byte c_early; /* reply beyond a gap: 1 + the byte at c_rcv + 1; NOTHING: none */

/* --- server: one reply byte for each request byte --- */
byte s_una, s_nxt, s_rcv, s_epoch = 1, s_early;

/* --- observers --- */
byte highest_accepted = 1; /* by the server: RESUME epochs */
byte rounds;

/* The number congruent to low (mod m) nearest to ref: pmw_wlsb. */
#define WLSB(v, ref, low, m) \
    v = ((ref) / (m)) * (m) + (low); \
    if \
    :: v + (m) / 2 < (ref) -> v = v + (m) \
    :: v > (ref) + (m) / 2 && v >= (m) -> v = v - (m) \
    :: else -> skip \
    fi

#define WORKS(e) (!dead[path_of[e]])
#define DONE (c_una == REQUESTS && c_rcv == REPLIES && s_una == REPLIES)

/* A byte off of a stream arrived in a frame of epoch e at an end with the given state. */
inline receive(off, e, own_epoch, rcv, early)
{
    WLSB(number, rcv, (off) % MODULUS, MODULUS);
    WLSB(epoch, own_epoch, (e) % 2, 2);
#ifdef PLANT_NO_CHECK
    intact = true;
#else
    intact = (number == off && epoch == e);
#endif
    if
    :: intact && number == rcv ->
        assert(off == rcv); /* I1 */
        rcv++;
        if
        :: early != NOTHING ->
            assert(early - 1 == rcv); /* I1 */
            rcv++;
            early = NOTHING
        :: else -> skip
        fi
    :: intact && number == rcv + 1 -> early = off + 1
    :: else -> skip /* a duplicate, or beyond the window, or damaged: dropped (C2, W7) */
    fi;
    number = 0; epoch = 0; intact = 0
}

/* S1, S7, S11: the client chooses the next epoch and its path. */
inline move(is_planned)
{
    if
    :: c_epoch + 1 == EPOCHS -> path_of[c_epoch + 1] = DIRECT
    :: c_epoch + 1 < EPOCHS -> path_of[c_epoch + 1] = 1
    :: c_epoch + 1 < EPOCHS -> path_of[c_epoch + 1] = 2
    fi;
    if
    :: is_planned -> c_planned = c_epoch + 1
    :: else -> c_epoch++; c_resuming = true; c_planned = 0
    fi;
    resumes[c_epoch + (c_planned != 0)] = resumes[c_epoch + (c_planned != 0)] | BIT(c_rcv)
}

/* What the peer says that it has. */
inline free_sent(una, nxt, ack)
{
    assert(ack <= nxt);
    if
    :: ack > una -> una = ack
    :: else -> skip
    fi
}

inline send_unacked(set, una, nxt)
{
    i = una;
    do
    :: i < nxt -> set = set | BIT(i); i++
    :: else -> break
    od;
    i = 0
}

/* A datagram is delivered, lost, or delivered and kept for another time. */
inline take(set, b)
{
    deliver = true;
    if
    :: set = set & ~BIT(b)
    :: repeats_left > 0 -> repeats_left--
    :: losses_left > 0 -> losses_left--; set = set & ~BIT(b); deliver = false
    fi
}

inline take_ack(ack, una, nxt)
{
    if
    :: free_sent(una, nxt, ack - 1); ack = NOTHING
    :: repeats_left > 0 -> repeats_left--; free_sent(una, nxt, ack - 1)
    :: losses_left > 0 -> losses_left--; ack = NOTHING
    fi
}

inline forget_dead()
{
    i = 1;
    do
    :: i <= EPOCHS ->
        if
        :: dead[path_of[i]] -> c2s_data[i] = 0; s2c_data[i] = 0; resumes[i] = 0; resume_acks[i] = 0
        :: else -> skip
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

active proctype world()
{
    byte i, e, b, number, epoch;
    bit intact, deliver;
    path_of[1] = 1;
    do
    /* --- the ends send --- */
    :: atomic { !c_resuming && c_nxt < REQUESTS && c_nxt < c_una + WINDOW ->
        c2s_data[c_epoch] = c2s_data[c_epoch] | BIT(c_nxt); c_nxt++ }
    :: atomic { s_nxt < s_rcv && s_nxt < REPLIES && s_nxt < s_una + WINDOW ->
        assert(s_epoch == highest_accepted); /* I3 */
        s2c_data[s_epoch] = s2c_data[s_epoch] | BIT(s_nxt); s_nxt++ }

    /* --- the client moves: for a reason, or for none (a false suspicion) --- */
    :: atomic { c_epoch < EPOCHS && !c_resuming && c_planned == 0 -> move(false) }
    :: atomic { c_epoch < EPOCHS && !c_resuming && c_planned == 0 -> move(true) }

    /* --- requests arrive; frames of every epoch whose path works --- */
    :: atomic { (c2s_data[1] && WORKS(1)) || (c2s_data[2] && WORKS(2)) || (c2s_data[3] && WORKS(3)) ->
        if
        :: c2s_data[1] && WORKS(1) -> e = 1
        :: c2s_data[2] && WORKS(2) -> e = 2
        :: c2s_data[3] && WORKS(3) -> e = 3
        fi;
        if
        :: HAS(c2s_data[e], 0) -> b = 0
        :: HAS(c2s_data[e], 1) -> b = 1
        :: HAS(c2s_data[e], 2) -> b = 2
        :: HAS(c2s_data[e], 3) -> b = 3
        :: HAS(c2s_data[e], 4) -> b = 4
        fi;
        take(c2s_data[e], b);
#ifdef PLANT_HOP_ACK
        free_sent(c_una, c_nxt, b + 1);
#endif
        if
        :: deliver ->
            receive(b, e, s_epoch, s_rcv, s_early);
            s2c_ack = 1 + s_rcv
        :: else -> skip
        fi;
        e = 0; b = 0; deliver = 0 }

    /* --- replies arrive --- */
    :: atomic { (s2c_data[1] && WORKS(1)) || (s2c_data[2] && WORKS(2)) || (s2c_data[3] && WORKS(3)) ->
        if
        :: s2c_data[1] && WORKS(1) -> e = 1
        :: s2c_data[2] && WORKS(2) -> e = 2
        :: s2c_data[3] && WORKS(3) -> e = 3
        fi;
        if
        :: HAS(s2c_data[e], 0) -> b = 0
        :: HAS(s2c_data[e], 1) -> b = 1
        :: HAS(s2c_data[e], 2) -> b = 2
        :: HAS(s2c_data[e], 3) -> b = 3
        :: HAS(s2c_data[e], 4) -> b = 4
        fi;
        take(s2c_data[e], b);
        if
        :: deliver ->
            receive(b, e, c_epoch, c_rcv, c_early);
            c2s_ack = 1 + c_rcv
        :: else -> skip
        fi;
        e = 0; b = 0; deliver = 0 }

    /* --- acknowledgements arrive (C1) --- */
    :: atomic { s2c_ack != NOTHING -> take_ack(s2c_ack, c_una, c_nxt); assert(c_una <= s_rcv) }
    :: atomic { c2s_ack != NOTHING -> take_ack(c2s_ack, s_una, s_nxt); assert(s_una <= c_rcv) }

    /* --- RESUME arrives at the server (S3, S4) --- */
    :: atomic { (resumes[2] && WORKS(2)) || (resumes[3] && WORKS(3)) ->
        if
        :: resumes[2] && WORKS(2) -> e = 2
        :: resumes[3] && WORKS(3) -> e = 3
        fi;
        do
        :: HAS(resumes[e], b) -> break
        :: else -> b++
        od;
        take(resumes[e], b);
        if
#ifdef PLANT_NO_EPOCH
        :: deliver && e != s_epoch ->
#else
        :: deliver && e > s_epoch ->
#endif
            assert(e > s_epoch); /* I3 */
            s_epoch = e;
            highest_accepted = e;
            free_sent(s_una, s_nxt, b);
            send_unacked(s2c_data[s_epoch], s_una, s_nxt);
            resume_acks[e] = resume_acks[e] | BIT(s_rcv)
        :: deliver && e == s_epoch ->
            resume_acks[e] = resume_acks[e] | BIT(s_rcv)
        :: else -> skip
        fi;
        e = 0; b = 0; deliver = 0 }

    /* --- RESUME_ACK arrives at the client (S4, S19) --- */
    :: atomic { (resume_acks[2] && WORKS(2)) || (resume_acks[3] && WORKS(3)) ->
        if
        :: resume_acks[2] && WORKS(2) -> e = 2
        :: resume_acks[3] && WORKS(3) -> e = 3
        fi;
        do
        :: HAS(resume_acks[e], b) -> break
        :: else -> b++
        od;
        take(resume_acks[e], b);
        if
        :: deliver && e == c_planned -> c_epoch = e; c_planned = 0
        :: deliver && e == c_epoch && c_resuming ->
            c_resuming = false;
            free_sent(c_una, c_nxt, b);
            assert(c_una <= s_rcv); /* C1 */
            send_unacked(c2s_data[c_epoch], c_una, c_nxt)
        :: else -> skip
        fi;
        e = 0; b = 0; deliver = 0 }

    /* --- faults: a helper dies with all it holds --- */
    :: atomic { kills_left > 0 && !dead[1] -> kills_left--; dead[1] = true; forget_dead() }
    :: atomic { kills_left > 0 && !dead[2] -> kills_left--; dead[2] = true; forget_dead() }

    /* --- nothing else can happen: the retransmission timers (C4, S7). What is on dead paths is gone. --- */
    :: atomic { timeout ->
        if
        :: DONE -> break
        :: else -> rounds++
        fi;
        assert(rounds <= ROUNDS_MAX); /* I4 */
        forget_dead();
        if
        :: c_planned != 0 && dead[path_of[c_planned]] -> /* S19: it does not answer; the next RESUME has another epoch */
            c_epoch = c_planned; c_planned = 0;
            if
            :: c_epoch < EPOCHS -> move(false)
            :: else -> c_resuming = true; resumes[c_epoch] = resumes[c_epoch] | BIT(c_rcv)
            fi
        :: c_planned != 0 && !dead[path_of[c_planned]] -> resumes[c_planned] = resumes[c_planned] | BIT(c_rcv)
        :: c_planned == 0 && dead[path_of[c_epoch]] -> move(false)
        :: c_planned == 0 && !dead[path_of[c_epoch]] && c_resuming -> resumes[c_epoch] = resumes[c_epoch] | BIT(c_rcv)
        :: c_planned == 0 && !dead[path_of[c_epoch]] && !c_resuming -> send_unacked(c2s_data[c_epoch], c_una, c_nxt)
        fi;
        c2s_ack = 1 + c_rcv; /* a duplicate, or a probe, is answered with an acknowledgement */
        s2c_ack = 1 + s_rcv;
        assert(s_epoch == highest_accepted); /* I3 */
        send_unacked(s2c_data[s_epoch], s_una, s_nxt) }
    od
}
