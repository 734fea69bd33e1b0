# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# What doxygen reads in place of the header: the plain comments are made documentation too. Lines
# keep their numbers.

# The manual at the header's head, as it stands. Without @file doxygen would pass over all calls.
2 s,^/\*$,/** @file guestmem.h @verbatim,
3,/^ \*\/$/ {
    s,^ \*/$,@endverbatim */,
    s,^ \* \{0\,1\},,
}

# Each section's head begins a group, which ends at the next or at the header's end.
/^\/\*$/,/^ \*\/$/ {
    /^\/\*$/ N
    s,^/\*\n \* \([0-9].*\),/** @} */ /** @name \1\n *,
    s,^/\*\* @} \*/ \(/\*\* @name 1 \),\1,
    s,^ \*/$, * @{ */,
}
/^#endif \/\* GUESTMEM_H/ s,$, /** @} */,
