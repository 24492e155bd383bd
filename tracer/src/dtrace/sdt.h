/* <sys/sdt.h>: marks in programs, for x86-64. Printed by `tracer dtrace --sdt-header`.
 *
 * A mark is one `nop`, and a note that says where it is, what it is called, and where its arguments are: section
 * `.note.stapsdt`, owner `stapsdt`, type 3. Define _SDT_HAS_SEMAPHORES before this file is included when there is an
 * `unsigned short PROVIDER_NAME_semaphore` for each mark; it is not 0 while somebody listens.
 *
 * This file may be used for any purpose, without conditions.
 */
#ifndef _SYS_SDT_H
#define _SYS_SDT_H 1

#define SDT_USE_VARIADIC 1

#define _SDT_TEXT(...) #__VA_ARGS__
#define _SDT_STRING(...) _SDT_TEXT(__VA_ARGS__)

/* What an argument is: its size, negative when it has a sign (%n prints the negative of a constant), and where it is. */
#ifdef __cplusplus
template <typename T> struct _sdt_type { enum { size = sizeof(T), is_signed = T(-1) < T(1) }; };
template <typename T> struct _sdt_type<T *> { enum { size = sizeof(void *), is_signed = 0 }; };
template <typename T> struct _sdt_type<T &> : _sdt_type<T> {};
template <typename T> struct _sdt_type<const T> : _sdt_type<T> {};
template <typename T> struct _sdt_type<volatile T> : _sdt_type<T> {};
template <> struct _sdt_type<bool> { enum { size = sizeof(bool), is_signed = 0 }; };
template <typename T, __SIZE_TYPE__ N> struct _sdt_type<T[N]> { enum { size = sizeof(void *), is_signed = 0 }; };
template <typename T, __SIZE_TYPE__ N> struct _sdt_type<const T[N]> { enum { size = sizeof(void *), is_signed = 0 }; };
#define _SDT_SIZE(x) (int)_sdt_type<__typeof__(x)>::size
#define _SDT_IS_SIGNED(x) _sdt_type<__typeof__(x)>::is_signed
#define _SDT_VALUE(x) (x)
#else
/* 5: a pointer, or an array, which is passed as one. */
#define _SDT_IS_POINTER(x) (__builtin_classify_type(x) == 5)
#define _SDT_NUMBER(x) __builtin_choose_expr(_SDT_IS_POINTER(x), 0U, (x))
#define _SDT_SIZE(x) (int)(_SDT_IS_POINTER(x) ? sizeof(void *) : sizeof(x))
#define _SDT_IS_SIGNED(x) ((__typeof__(_SDT_NUMBER(x)))-1 < (__typeof__(_SDT_NUMBER(x)))1)
#define _SDT_VALUE(x) (x)
#endif

#define _SDT_OPERAND(n, x) \
    [sdt_size_##n] "n"((_SDT_IS_SIGNED(x) ? 1 : -1) * _SDT_SIZE(x)), [sdt_value_##n] "nor"(_SDT_VALUE(x))
#define _SDT_TEMPLATE(n) "%n[sdt_size_" #n "]@%[sdt_value_" #n "]"

#ifdef _SDT_HAS_SEMAPHORES
#define _SDT_SEMAPHORE(provider, name) _SDT_STRING(provider) "_" _SDT_STRING(name) "_semaphore"
#else
#define _SDT_SEMAPHORE(provider, name) "0"
#endif

#define _SDT_NOTE(provider, name, arguments)                                            \
    "990: nop\n"                                                                        \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n"                                       \
    ".balign 4\n"                                                                       \
    ".4byte 992f-991f, 994f-993f, 3\n"                                                  \
    "991: .asciz \"stapsdt\"\n"                                                         \
    "992: .balign 4\n"                                                                  \
    "993: .8byte 990b\n"                                                                \
    ".8byte _.stapsdt.base\n"                                                           \
    ".8byte " _SDT_SEMAPHORE(provider, name) "\n"                                       \
    ".asciz \"" _SDT_STRING(provider) "\"\n"                                            \
    ".asciz \"" _SDT_STRING(name) "\"\n"                                                \
    ".asciz \"" arguments "\"\n"                                                        \
    "994: .balign 4\n"                                                                  \
    ".popsection\n"                                                                     \
    ".ifndef _.stapsdt.base\n"                                                          \
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"             \
    ".weak _.stapsdt.base\n"                                                            \
    ".hidden _.stapsdt.base\n"                                                          \
    "_.stapsdt.base: .space 1\n"                                                        \
    ".size _.stapsdt.base, 1\n"                                                         \
    ".popsection\n"                                                                     \
    ".endif\n"

#define _SDT_MARK(provider, name, arguments, ...)                                       \
    do {                                                                                \
        __asm__ __volatile__(_SDT_NOTE(provider, name, arguments) : : __VA_ARGS__);     \
    } while (0)

#define STAP_PROBE(provider, name)                                                      \
    do {                                                                                \
        __asm__ __volatile__(_SDT_NOTE(provider, name, ""));                            \
    } while (0)
#define STAP_PROBE1(provider, name, a1) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1), _SDT_OPERAND(1, a1))
#define STAP_PROBE2(provider, name, a1, a2) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2))
#define STAP_PROBE3(provider, name, a1, a2, a3) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3))
#define STAP_PROBE4(provider, name, a1, a2, a3, a4) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4))
#define STAP_PROBE5(provider, name, a1, a2, a3, a4, a5) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4) " " _SDT_TEMPLATE(5), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4), _SDT_OPERAND(5, a5))
#define STAP_PROBE6(provider, name, a1, a2, a3, a4, a5, a6) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4) " " _SDT_TEMPLATE(5) " " _SDT_TEMPLATE(6), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4), _SDT_OPERAND(5, a5), _SDT_OPERAND(6, a6))
#define STAP_PROBE7(provider, name, a1, a2, a3, a4, a5, a6, a7) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4) " " _SDT_TEMPLATE(5) " " _SDT_TEMPLATE(6) " " _SDT_TEMPLATE(7), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4), _SDT_OPERAND(5, a5), _SDT_OPERAND(6, a6), _SDT_OPERAND(7, a7))
#define STAP_PROBE8(provider, name, a1, a2, a3, a4, a5, a6, a7, a8) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4) " " _SDT_TEMPLATE(5) " " _SDT_TEMPLATE(6) " " _SDT_TEMPLATE(7) " " _SDT_TEMPLATE(8), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4), _SDT_OPERAND(5, a5), _SDT_OPERAND(6, a6), _SDT_OPERAND(7, a7), _SDT_OPERAND(8, a8))
#define STAP_PROBE9(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4) " " _SDT_TEMPLATE(5) " " _SDT_TEMPLATE(6) " " _SDT_TEMPLATE(7) " " _SDT_TEMPLATE(8) " " _SDT_TEMPLATE(9), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4), _SDT_OPERAND(5, a5), _SDT_OPERAND(6, a6), _SDT_OPERAND(7, a7), _SDT_OPERAND(8, a8), _SDT_OPERAND(9, a9))
#define STAP_PROBE10(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4) " " _SDT_TEMPLATE(5) " " _SDT_TEMPLATE(6) " " _SDT_TEMPLATE(7) " " _SDT_TEMPLATE(8) " " _SDT_TEMPLATE(9) " " _SDT_TEMPLATE(10), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4), _SDT_OPERAND(5, a5), _SDT_OPERAND(6, a6), _SDT_OPERAND(7, a7), _SDT_OPERAND(8, a8), _SDT_OPERAND(9, a9), _SDT_OPERAND(10, a10))
#define STAP_PROBE11(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4) " " _SDT_TEMPLATE(5) " " _SDT_TEMPLATE(6) " " _SDT_TEMPLATE(7) " " _SDT_TEMPLATE(8) " " _SDT_TEMPLATE(9) " " _SDT_TEMPLATE(10) " " _SDT_TEMPLATE(11), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4), _SDT_OPERAND(5, a5), _SDT_OPERAND(6, a6), _SDT_OPERAND(7, a7), _SDT_OPERAND(8, a8), _SDT_OPERAND(9, a9), _SDT_OPERAND(10, a10), _SDT_OPERAND(11, a11))
#define STAP_PROBE12(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) \
    _SDT_MARK(provider, name, _SDT_TEMPLATE(1) " " _SDT_TEMPLATE(2) " " _SDT_TEMPLATE(3) " " _SDT_TEMPLATE(4) " " _SDT_TEMPLATE(5) " " _SDT_TEMPLATE(6) " " _SDT_TEMPLATE(7) " " _SDT_TEMPLATE(8) " " _SDT_TEMPLATE(9) " " _SDT_TEMPLATE(10) " " _SDT_TEMPLATE(11) " " _SDT_TEMPLATE(12), _SDT_OPERAND(1, a1), _SDT_OPERAND(2, a2), _SDT_OPERAND(3, a3), _SDT_OPERAND(4, a4), _SDT_OPERAND(5, a5), _SDT_OPERAND(6, a6), _SDT_OPERAND(7, a7), _SDT_OPERAND(8, a8), _SDT_OPERAND(9, a9), _SDT_OPERAND(10, a10), _SDT_OPERAND(11, a11), _SDT_OPERAND(12, a12))

#define DTRACE_PROBE(provider, name) STAP_PROBE(provider, name)
#define DTRACE_PROBE1(provider, name, a1) STAP_PROBE1(provider, name, a1)
#define DTRACE_PROBE2(provider, name, a1, a2) STAP_PROBE2(provider, name, a1, a2)
#define DTRACE_PROBE3(provider, name, a1, a2, a3) STAP_PROBE3(provider, name, a1, a2, a3)
#define DTRACE_PROBE4(provider, name, a1, a2, a3, a4) STAP_PROBE4(provider, name, a1, a2, a3, a4)
#define DTRACE_PROBE5(provider, name, a1, a2, a3, a4, a5) STAP_PROBE5(provider, name, a1, a2, a3, a4, a5)
#define DTRACE_PROBE6(provider, name, a1, a2, a3, a4, a5, a6) STAP_PROBE6(provider, name, a1, a2, a3, a4, a5, a6)
#define DTRACE_PROBE7(provider, name, a1, a2, a3, a4, a5, a6, a7) STAP_PROBE7(provider, name, a1, a2, a3, a4, a5, a6, a7)
#define DTRACE_PROBE8(provider, name, a1, a2, a3, a4, a5, a6, a7, a8) STAP_PROBE8(provider, name, a1, a2, a3, a4, a5, a6, a7, a8)
#define DTRACE_PROBE9(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9) STAP_PROBE9(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9)
#define DTRACE_PROBE10(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) STAP_PROBE10(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10)
#define DTRACE_PROBE11(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11) STAP_PROBE11(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11)
#define DTRACE_PROBE12(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12) STAP_PROBE12(provider, name, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12)

/* As many arguments as there are. */
#define _SDT_COUNTED(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, which, ...) which
#define STAP_PROBEV(provider, ...)                                                                     \
    _SDT_COUNTED(__VA_ARGS__, STAP_PROBE12, STAP_PROBE11, STAP_PROBE10, STAP_PROBE9, STAP_PROBE8,      \
                 STAP_PROBE7, STAP_PROBE6, STAP_PROBE5, STAP_PROBE4, STAP_PROBE3, STAP_PROBE2,         \
                 STAP_PROBE1, STAP_PROBE, 0)(provider, __VA_ARGS__)

#endif
