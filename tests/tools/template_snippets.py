"""Small templates for make_template_fixtures.py: one feature each, in groups that share variables."""

VALUES = {
    "n": 7, "m": -3, "f": 2.5, "big": 9007199254740993, "s": "Hello World", "u": "Straße ﬁ İΣ ΑΣ ǆ 日本語 😀", "e": "",
    "t": True, "no": False, "nil": None, "l": [3, 1, 2], "names": ["bob", "Alice", "carol", "Bob"], "nested": [[1, 2], [3, [4, 5]]],
    "d": {"b": 1, "a": {"x": [10, 20]}, "items": "own", "key with space": 3},
    "people": [
        {"name": "Bob", "age": 30, "city": "Rome", "tags": ["x"]},
        {"name": "alice", "age": 25, "city": "oslo", "tags": []},
        {"name": "Carol", "age": 30, "city": "Oslo", "tags": ["x", "y"]},
        {"name": "dave", "city": "rome", "admin": True},
    ],
    "lines": "one\n\ntwo  \r\n three\x0bfour\n", "html": "<a href=\"x\">T & 'q'</a>", "tree": [{"v": 1, "kids": [{"v": 2, "kids": [{"v": 3}]}, {"v": 4}]}, {"v": 5}],
}

LITERALS = r"""
{{ 1 }} {{ 1_000 }} {{ 0x1F }} {{ 0o17 }} {{ 0b101 }} {{ 00 }} {{ 1.5 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 1_0.2_5 }}
{{ 007 }}
{{ 1.0 }} {{ 100000000000000000.0 }} {{ 1e16 }} {{ 123456789012345.6 }} {{ 1e-4 }} {{ 1e-5 }} {{ 0.1 }} {{ 1e22 }} {{ 5e-324 }} {{ 1e999 }}
{{ 0.1 + 0.2 }} {{ 1/3 }} {{ 2/1 }} {{ 1e15 }} {{ 3.0e15 }} {{ -0.0 }}
{{ 9223372036854775807 }} {{ -9223372036854775807 }}
{{ true }} {{ True }} {{ false }} {{ False }} {{ none }} {{ None }}
{{ 'a' "b" 'c' }} {{ "it's" }} {{ 'say "x"' }}
{{ 'a\nb\t\\ \' \x41 \u00e9 \U0001F600 \101 \z \
c' }}
{{ '\é' }}
{{ '\x4' }}
{{ [1, 'a', [2.0, none], (1, 2), {}] }}
{{ [1, 2,] }} {{ (1,) }} {{ () }} {{ (1) }} {{ 1, 2 }} {{ [] }}
{{ {'a': 1, 2: 'b', none: [], 1.5: true,} }}
{{ {'a': 1, 'a': 2} }} {{ {1: 'x', true: 'y', 1.0: 'z'} }}
{{ {[1]: 2} }}
{{ ["it's", 'say "x"', 'both \' "', '\n\t\r\\', '\x00\x1f\x7f\u00a0\u200b\u2028é😀'] }}
{{ [1.0, -2.5, 1e100, 0.1] }}
{{ {'k': 'v'}['k'] }} {{ [10, 20][1] }} {{ 'abc'[0] }} {{ (1, 2)[-1] }}
{{ x.y.z }}
{{ nothing }}|{{ nothing is defined }}
{{ nothing.attribute is defined }}
{{ 'unterminated }}
{{ 1 2 }}
{{ }}
{{ @ }}
{{ a ! b }}
{{ ) }}
{{ (1 }}
{{ [1} }}
{{ {'a' 1} }}
{{ 1 +
2 }}
{{- 1 -}}   {{ 2 }}
{{ 1.foo }}|{{ 1 .foo }}
{{ 0x }}
{{ 1__0 }}
{{ _x }} {{ ä }}
"""

OPERATORS = r"""
{{ 7 + 2 }} {{ 7 - 2 }} {{ 7 * 2 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ 7 % 2 }} {{ 7 ** 2 }} {{ 8 / 2 }}
{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ -7 / 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ -0.5 // 1 }}
{{ 2 ** -1 }} {{ 2 ** 0.5 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 4 ** 0.5 }} {{ 0 ** 0 }} {{ 10 ** 18 }}
{{ true + 1 }} {{ true * 3.5 }} {{ -true }} {{ +f }} {{ --n }} {{ - - 3 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1.0 / 0 }}
{{ 0 ** -1 }}
{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'ab' * 0 }} {{ 'ab' * -1 }} {{ [1] * 2 }} {{ (1, 2) * 2 }} {{ 2 * [0] }}
{{ [1] + [2, 3] }} {{ (1,) + (2,) }}
{{ [1] + (2,) }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ none + 1 }}
{{ {} + {} }}
{{ 'a' - 'b' }}
{{ 'a' * 1.5 }}
{{ -'a' }}
{{ missing + 1 }}
{{ 1 ~ 'a' ~ none ~ true ~ 2.0 ~ [1] ~ missing ~ '.' }}
{{ (1 + 2) ~ 3 * 4 }} {{ 1 ~ 2 * 3 }}
{{ 1 + 2 ~ 3 * 4 }}
{{ 1 ~ 2 + 3 }}
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 1 == true }} {{ 'a' < 'b' }} {{ 'a' == 1 }} {{ none == none }} {{ 1 != 2 }} {{ 3 >= 3 > 2 }}
{{ [1, 2] < [1, 3] }} {{ [1] < [1, 0] }} {{ (1, 'a') == (1, 'a') }} {{ [1] == (1,) }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ [] == missing }} {{ missing == other }}
{{ 1 < 'a' }}
{{ none < none }}
{{ [1] < ['a'] }}
{{ {} < {} }}
{{ missing < 1 }}
{{ 'a' < 'B' }} {{ 'é' > 'z' }} {{ '😀' > '日' }} {{ 'ab' > 'a' }}
{{ 1 in [1, 2] }} {{ 3 not in [1, 2] }} {{ 'a' in 'cat' }} {{ '' in '' }} {{ 'b' in d }} {{ 'x' in d }} {{ 2 in (1, 2) }} {{ 1.0 in [1] }} {{ 4 in range(5) }} {{ 2.5 in range(5) }} {{ 1 in missing }}
{{ 1 in 'a' }}
{{ 1 in 5 }}
{{ [1] in d }}
{{ missing in [1] }} {{ missing in [missing] }} {{ 'x' in d.keys() }} {{ 1 in d.values() }} {{ ('b', 1) in d.items() }}
{{ not 1 }} {{ not '' }} {{ not not 2 }} {{ not 1 == 2 }} {{ not 'a' in 'b' }}
{{ 1 and 2 }} {{ 0 and 2 }} {{ 0 or 'x' }} {{ '' or none or [] }} {{ 1 or missing.x }} {{ 0 and missing.x }} {{ 1 and 2 or 3 }} {{ not 0 and 1 }}
{{ 'y' if t else 'n' }} {{ 'y' if no else 'n' }} {{ 'y' if no }} {{ 1 if no else 2 if no else 3 }} {{ (1 if t) + 1 }}
{{ (1 if no) + 1 }}
{{ 'a' if missing else 'b' }} {{ 'x' if 0.0 else 'y' }} {{ 'x' if {} else 'y' }} {{ 'x' if ' ' else 'y' }}
{{ n + m * 2 - 4 // 3 }} {{ (n + m) * 2 }} {{ n - 1 - 1 }} {{ 100 / 10 / 2 }} {{ 2 * 3 % 4 }}
{{ 9223372036854775807 + 0 }} {{ 4611686018427387904 * -2 }} {{ big + 1 }} {{ big / 3 }} {{ big == 9007199254740992.0 }} {{ big > 9007199254740992.0 }}
{{ '%s and %d' % ('a', 5) }} {{ '%s' % n }} {{ '%5.2f|%-6s|%06d|%+d|%x|%X|%o|%e|%g|%%|%c|%r' % (3.14159, 'ab', 42, 5, 255, 255, 8, 12345.678, 0.00001, 'z', 'q') }}
{{ '%(a)s-%(b)05d' % {'a': 'x', 'b': 3} }} {{ '%s' % [1, 2] }} {{ '%s' % (none,) }} {{ '%.3s' % 'abcdef' }} {{ '%*d' % (5, 42) }} {{ '%-5d|' % 3 }} {{ '% d' % 3 }} {{ '%#x' % 255 }} {{ '%.5d' % 42 }} {{ '%5s' % 'é' }}
{{ '%i %u %F %G %E' % (3.9, 4, 1.5, 1e20, 1.5) }} {{ '%a' % 'é😀' }} {{ '%d' % true }} {{ '%f' % 1 }} {{ '%.0f' % 0.5 }} {{ '%.0f' % 1.5 }} {{ '%g' % 100000 }} {{ '%g' % 1000000 }}
{{ '%s %s' % ('a',) }}
{{ '%s' % ('a', 'b') }}
{{ '%d' % 'a' }}
{{ '%z' % 1 }}
{{ 'abc' % 1 }}
{{ 'abc' % {} }} {{ 'abc' % [] }}
{{ '%(x)s' % {} }}
{{ '%' % 1 }}
"""

ACCESS = r"""
{{ d.b }} {{ d['b'] }} {{ d.a.x[1] }} {{ d['a']['x'].0 }} {{ d.zzz }} {{ d['zzz'] is defined }} {{ d['key with space'] }}
{{ d['items'] }} {{ d.items is callable }} {{ d.get('b') }} {{ d.get('q', 5) }} {{ d.get('q') }} {{ d['get']('b') }}
{{ d.keys() }} {{ d.values() }} {{ d.items() }} {{ d.keys()|list }} {{ d.items()|list|length }} {{ d.copy() == d }}
{{ d.update({}) }}
{{ d.pop('b') }}
{{ d.clear() }}
{{ d.setdefault('x', 1) }}
{{ l.append(4) }}
{{ l.sort() }}
{{ l.pop is defined }} {{ l.append }}|{{ d.update }}|{{ l.__class__ }}|{{ s.__len__ is defined }}
{{ l[0] }} {{ l[-1] }} {{ l[5] }} {{ l[-5] is defined }} {{ l['a'] }} {{ l.0 }} {{ nested[1][1][0] }} {{ nested.1.1.1 }}
{{ l.index(2) }} {{ l.count(1) }} {{ (1, 2, 1).count(1) }} {{ (1, 2).index(2) }} {{ l.copy() }}
{{ l.index(9) }}
{{ s[0] }} {{ s[-1] }} {{ s[99] }} {{ u[4] }} {{ u[-1] }} {{ u[5:9] }} {{ u[::-1] }} {{ s[1:-1:2] }}
{{ l[1:] }} {{ l[:-1] }} {{ l[::2] }} {{ l[::-1] }} {{ l[5:] }} {{ l[-2:] }} {{ l[1:1] }} {{ (1, 2, 3)[1:] }} {{ l[none:2] }} {{ l[:99] }} {{ l[-99:2] }} {{ range(10)[2:8:3] }} {{ range(5)[::-1]|list }} {{ s[:5] }} {{ s[6:] }}
{{ l[::0] }}
{{ l['a':] }}
{{ d[1:] }}
{{ nil[1:] }}
{{ missing[1:] }}
{{ n[1:] }}
{{ s[2:5, 1] }}
{{ none.x }}|{{ 5 .x }}|{{ none['x'] }}|{{ t.y }}|{{ f[0] }}
{{ missing.x }}
{{ missing['x'] }}
{{ missing() }}
{{ none() }}
{{ s() }}
{{ s.nope() }}
{{ d.b() }}
{{ d[l] }}
{{ x[] is defined }}
{{ l[] }}
{{ d[1, 2] }} {{ {(1, 2): 'p'}[1, 2] }}
{{ people[0].name }} {{ people[0]['tags'][0] }} {{ people[-1].admin }} {{ people[1].tags[0] }} {{ people.0.name }}
{{ d|attr('keys') is callable }} {{ d|attr('b') }} {{ d|attr('nope') }} {{ s|attr('upper')() }} {{ l|attr('append') }}
{{ range(3).start }} {{ range(1, 9, 2).step }} {{ range(3) }} {{ range(1, 9, 2) }} {{ range(5).index(2) }}
{{ d.a }} {{ [d.b, d.zzz, none] }} {{ {'u': d.zzz} }}
{{ d.b.c.d }}
{{ d.zzz.y }}
"""

METHODS = r"""
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.capitalize() }} {{ s.swapcase() }} {{ u.upper() }}|{{ u.lower() }}|{{ u.title() }}|{{ u.capitalize() }}|{{ u.swapcase() }}|{{ u.casefold() }}
{{ "they're bill's o'neil 3rd".title() }} {{ 'ὈΔΥΣΣΕΎΣ ΣΑΣ Σ'.lower() }} {{ 'ŉ ǰ ΐ ﬀ ﬃ և ẖ'.upper() }} {{ 'ǆ ǅ Ǆ'.title() }} {{ 'ﬁx'.capitalize() }}
[{{ '  a b '.strip() }}] [{{ '  a '.lstrip() }}] [{{ '  a '.rstrip() }}] [{{ 'xxaxx'.strip('x') }}] [{{ 'abcba'.strip('ab') }}] [{{ '\u00a0\u3000a\u2003'.strip() }}] [{{ 'ééaé'.strip('é') }}] [{{ '  '.strip() }}] [{{ ' a '.strip(none) }}]
{{ 'a b'.strip(1) }}
{{ 'a,b,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ ' a  b '.split() }} {{ 'a  b'.split(' ') }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a\tb\u00a0c\nd'.split() }} {{ 'a b c'.split(maxsplit=1) }} {{ 'a--b--c'.split('--', maxsplit=1) }} {{ 'abc'.split('x') }} {{ 'a b c'.split(none, 1) }} {{ 'a,b'.split(sep=',') }}
{{ 'a'.split('') }}
{{ 'a,b,c'.rsplit(',', 1) }} {{ ' a  b  c '.rsplit(none, 1) }} {{ 'aaa'.rsplit('aa') }} {{ 'aaa'.split('aa') }} {{ 'a.b.c'.rsplit('.') }} {{ 'a b c '.rsplit(maxsplit=1) }}
{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ ''.splitlines() }} {{ '\n'.splitlines() }} {{ 'a\r\rb\u2028c\u0085d'.splitlines() }} {{ 'a\n'.splitlines(keepends=true) }}
{{ s.startswith('He') }} {{ s.startswith('e', 1) }} {{ s.startswith(('x', 'H')) }} {{ s.endswith('ld') }} {{ s.endswith('o', 0, 5) }} {{ s.startswith('') }} {{ s.startswith('', 99) }} {{ ''.startswith('') }} {{ u.startswith('ß', 4) }} {{ s.endswith('World', -5) }}
{{ s.startswith(['H']) }}
{{ s.startswith(1) }}
{{ s.startswith(missing) }}
{{ s.replace('o', '0') }} {{ s.replace('o', '0', 1) }} {{ 'abc'.replace('', '-') }} {{ 'abc'.replace('', '-', 2) }} {{ ''.replace('', 'x') }} {{ 'aaa'.replace('aa', 'b') }} {{ u.replace('本', '\u00e9') }} {{ 'é'.replace('', '-') }} {{ 'aXbX'.replace('X', '') }} {{ 'a'.replace('a', 'b', 0) }} {{ 'aa'.replace('a', 'b', -1) }}
{{ s.replace('o') }}
{{ s.replace(1, 2) }}
{{ s.find('o') }} {{ s.find('o', 5) }} {{ s.find('zz') }} {{ s.rfind('o') }} {{ s.index('W') }} {{ s.rindex('l') }} {{ s.count('l') }} {{ s.count('') }} {{ u.find('本') }} {{ u.rfind('Σ') }} {{ s.find('', 3) }} {{ s.find('', 99) }} {{ s.find('l', 3, 5) }} {{ s.rfind('l', 0, 4) }} {{ 'aaaa'.count('aa') }} {{ s.find('o', -4) }} {{ s.count('l', 3) }} {{ s.rfind('') }} {{ 'é'.count('') }}
{{ s.index('zz') }}
{{ s.rindex('zz') }}
{{ ', '.join(['a', 'b']) }} {{ ''.join(('x', 'y')) }} {{ '-'.join('abc') }} {{ ','.join([]) }} {{ ','.join(d) }} {{ '|'.join(names|map('upper')) }}
{{ ','.join([1]) }}
{{ ','.join(5) }}
{{ '{} {}'.format('a', 1) }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x:>5}|{y:<5}|{z:^5}|'.format(x='a', y='b', z='c') }} {{ '{:05d} {:.2f} {:,} {:x} {:#x} {:b} {:e} {:%} {:+}'.format(42, 3.14159, 1234567, 255, 255, 5, 12345.6, 0.25, 3) }} {{ '{{}}'.format() }} {{ '{!r} {!s}'.format('a', 'b') }} {{ '{0.name} {0[age]}'.format(people[0]) }} {{ '{:*^9}'.format('mid') }} {{ '{:{}}|'.format('a', 4) }} {{ '{:.3}'.format('abcdef') }} {{ '{}'.format(none) }} {{ '{:>8}'.format(true) }} {{ '{:d}'.format(true) }} {{ '{:.3}'.format(3.14159) }} {{ '{:g}'.format(0.0001) }} {{ '{:010.3f}'.format(-3.5) }} {{ '{:_}'.format(1000000) }} {{ '{:é>4}'.format(7) }} {{ '{:c}'.format(65) }} {{ '{:s}'.format('q') }} {{ '{:}'.format(1.0) }} {{ '{:<6}|'.format(1.5) }} {{ '{:=+6d}'.format(42) }} {{ '{:.0f}'.format(2.5) }} {{ '{:E}'.format(0.00012) }} {{ '{:10}'.format('é') }}|
{{ '{}'.format() }}
{{ '{a}'.format(b=1) }}
{{ '{} {0}'.format(1) }}
{{ '{'.format() }}
{{ '}'.format() }}
{{ '{:d}'.format('a') }}
{{ '{:s}'.format(1) }}
{{ '{:.2}'.format(5) }}
{{ '{:5}'.format([1]) }}
{{ '{!x}'.format(1) }}
{{ '{x}-{y}'.format_map({'x': 1, 'y': 2}) }}
{{ '123'.isdigit() }} {{ '12a'.isdigit() }} {{ ''.isdigit() }} {{ '²'.isdigit() }} {{ '½'.isnumeric() }} {{ '½'.isdigit() }} {{ '٣'.isdecimal() }} {{ 'abc'.isalpha() }} {{ 'é日'.isalpha() }} {{ 'a1'.isalnum() }} {{ 'a 1'.isalnum() }} {{ ' \t\u2003'.isspace() }} {{ ''.isspace() }} {{ 'ABC'.isupper() }} {{ 'AbC'.isupper() }} {{ '1A'.isupper() }} {{ '12'.isupper() }} {{ 'abc'.islower() }} {{ 'Hello World'.istitle() }} {{ 'Hello world'.istitle() }} {{ 'abc'.isascii() }} {{ 'é'.isascii() }} {{ 'a_1'.isidentifier() }} {{ '1a'.isidentifier() }} {{ 'a\n'.isprintable() }} {{ 'Ⅷ'.isupper() }} {{ 'ª'.islower() }} {{ '一'.isnumeric() }}
{{ '42'.zfill(5) }} {{ '-42'.zfill(5) }} {{ '+1'.zfill(1) }} {{ 'é'.zfill(3) }} [{{ 'ab'.ljust(5) }}] [{{ 'ab'.rjust(5, '*') }}] [{{ 'ab'.center(5) }}] [{{ 'abc'.center(6, '-') }}] [{{ 'ab'.center(5, '-') }}] [{{ 'é'.center(4) }}] {{ 'abc'.ljust(2) }}
{{ 'a'.ljust(5, 'xy') }}
{{ 'TestHook'.removeprefix('Test') }} {{ 'TestHook'.removeprefix('x') }} {{ 'a.py'.removesuffix('.py') }} {{ 'a.py'.removesuffix('') }} {{ 'aa'.removeprefix('aaa') }}
{{ 'k=v=w'.partition('=') }} {{ 'k=v=w'.rpartition('=') }} {{ 'kv'.partition('=') }} {{ 'kv'.rpartition('=') }}
{{ 'a'.partition('') }}
{{ 'a\tbc\td'.expandtabs(4) }}| {{ 'a\tb'.expandtabs() }}|
{{ 'abc'.nope }}|
{{ 'abc'.upper(1) }}
{{ s.upper().lower().title()[0:3].center(9, '.') }}
{{ s.split()[0] }}|{{ s.split()[-1].lower() }}
"""

FILTERS = r"""
{{ s|upper }} {{ s|lower }} {{ 'a b-c (d)'|title }} {{ 'hELLO'|capitalize }} {{ n|upper }} {{ nil|lower }} {{ u|upper }} {{ "o'neil x_y {z} [q] <r"|title }} {{ 'ß ﬁ'|title }}
[{{ '  x '|trim }}] [{{ 'xxaxx'|trim('x') }}] [{{ nil|trim }}] [{{ missing|trim }}] [{{ 5|trim }}] [{{ ' a '|trim(chars=' a') }}]
{{ s|replace('o', '0') }} {{ s|replace('o', '0', 1) }} {{ 12321|replace(2, 'x') }} {{ 'aaa'|replace('a', 'b', count=2) }} {{ missing|replace('a', 'b') }}
{{ s|length }} {{ l|count }} {{ d|length }} {{ u|length }} {{ ''|length }} {{ missing|length }} {{ range(5)|length }} {{ (1, 2)|length }}
{{ 5|length }}
{{ nil|length }}
{{ (l|map('abs'))|length }}
{{ missing|default('x') }} {{ nil|default('x') }} {{ ''|default('x') }} {{ ''|default('x', true) }} {{ d.zzz|d('y') }} {{ missing|default }} {{ 0|default(5, boolean=true) }} {{ missing|default(default_value=[]) }} {{ nil|d('n', true) }}
{{ missing.x|default('y') }}
{{ l|first }} {{ l|last }} {{ s|first }} {{ s|last }} {{ u|last }} {{ []|first }} {{ []|first is defined }} {{ d|first }} {{ d|last }} {{ range(3)|last }} {{ missing|first }} {{ missing|last }} {{ d.items()|first }}
{{ 5|first }}
{{ (l|map('abs'))|last }}
{{ l|join }} {{ l|join(', ') }} {{ names|join('|') }} {{ people|join(', ', attribute='name') }} {{ 'abc'|join('-') }} {{ d|join(',') }} {{ [1, none, true, 2.5, [1]]|join('/') }} {{ missing|join(',') }} {{ [missing, 1]|join('-') }} {{ l|join(0) }} {{ people|join('+', 'age') }}
{{ 5|join }}
{{ s|list }} {{ d|list }} {{ (1, 2)|list }} {{ range(3)|list }} {{ missing|list }} {{ l|map('string')|list }}
{{ 5|list }}
{{ l|sort }} {{ l|sort(reverse=true) }} {{ names|sort }} {{ names|sort(case_sensitive=true) }}
{{ people|sort(attribute='age,name')|list }}
{{ people[:3]|sort(attribute='age')|map(attribute='name')|list }} {{ people[:3]|sort(attribute='city,name')|map(attribute='name')|join(' ') }} {{ people[:3]|sort(true, attribute='age')|map(attribute='name')|join(' ') }} {{ 'hello'|sort }} {{ d|sort }} {{ [[2, 1], [1, 9]]|sort }} {{ [[2, 1], [1, 9]]|sort(attribute=1) }} {{ [3, 1.5, true]|sort }}
{{ [1, 'a']|sort }}
{{ [none, none]|sort }} {{ []|sort }}
{{ [none, 1]|sort }}
{{ names|unique|list }} {{ names|unique(true)|list }} {{ [1, 1.0, true, 2]|unique|list }} {{ people|unique(attribute='city')|map(attribute='name')|list }} {{ 'aAbB'|unique|join }}
{{ [[1], [1]]|unique|list }}
{{ l|reverse|list }} {{ s|reverse }} {{ u|reverse }} {{ d|reverse|list }} {{ (1, 2)|reverse|join }} {{ l|map('abs')|reverse }} {{ range(3)|reverse|list }} {{ missing|reverse|list }}
{{ 5|reverse }}
{{ (l|reverse)|length }}
{{ l|min }} {{ l|max }} {{ names|min }} {{ names|max }} {{ names|max(case_sensitive=true) }} {{ people[:3]|min(attribute='age') }} {{ (people[:3]|max(attribute='name')).name }} {{ []|min }}|{{ []|max is defined }} {{ 'hello'|max }} {{ [none]|max }}
{{ [none, 1]|max }}
{{ [none, none]|min }}
{{ l|sum }} {{ people[:3]|sum(attribute='age') }} {{ [0.1, 0.2]|sum }} {{ []|sum }} {{ [[1], [2]]|sum(start=[]) }} {{ l|sum(start=10) }} {{ [true, true]|sum }} {{ missing|sum }}
{{ names|sum }}
{{ names|sum(start='') }}
{{ -5|abs }} {{ m|abs }} {{ -2.5|abs }} {{ true|abs }} {{ (-5)|abs }} {{ (m - 1)|abs }}
{{ 'a'|abs }}
{{ missing|abs }}
{{ 42.55|round }} {{ 42.55|round(1) }} {{ 42.55|round(1, 'floor') }} {{ 42.45|round(1, 'ceil') }} {{ 2.5|round }} {{ 3.5|round }} {{ -2.5|round }} {{ 2.675|round(2) }} {{ 5|round }} {{ 1234|round(-2) }} {{ 1250|round(-2) }} {{ 1350|round(-2) }} {{ 1234.5|round(-2) }} {{ 5|round(2, 'floor') }} {{ true|round }} {{ 0.5|round }} {{ 1.5|round|int }} {{ 1e20|round(-19) }} {{ 1.005|round(2) }} {{ -7.5|round(0, 'floor') }} {{ 0.1|round(20) }} {{ 50|round(-2) }} {{ 150.0|round(-2) }} {{ -50.0|round(-2) }}
{{ 'a'|round }}
{{ 1.5|round(1, 'up') }}
{{ '42'|int }} {{ '42.9'|int }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ 3.99|int }} {{ -3.99|int }} {{ ' 12 '|int }} {{ '0x1f'|int(base=16) }} {{ '1f'|int(0, 16) }} {{ '0b11'|int(0, 0) }} {{ '1_000'|int }} {{ nil|int }} {{ true|int }} {{ '1e3'|int }} {{ ''|int }} {{ []|int(-1) }} {{ '-5'|int }} {{ '+5'|int }} {{ '٣'|int(9)|string|length }} {{ 'inf'|int(3) }} {{ '0o17'|int(0, 8) }} {{ 'zz'|int(0, 36) }} {{ '12'|int(default=5) }} {{ '_1'|int }} {{ '1__0'|int }}
{{ missing|int }}
{{ '1.5'|float }} {{ 'x'|float }} {{ 'x'|float(2.5) }} {{ 3|float }} {{ '1e3'|float }} {{ nil|float }} {{ ' 2 '|float }} {{ 'inf'|float }} {{ '-Infinity'|float }} {{ 'nan'|float }} {{ '1_0.5'|float }} {{ '.5'|float }} {{ '5.'|float }} {{ true|float }} {{ '1e999'|float }} {{ '1e-999'|float }} {{ '0x10'|float(9) }}
{{ missing|float }}
{{ 5|string }} {{ nil|string }} {{ [1, 'a']|string }} {{ missing|string }}| {{ 1.0|string }} {{ 5|string|length }} {{ true|string }}
{{ html|escape }} {{ html|e }} {{ html|safe }} {{ html|escape|escape }} {{ html|forceescape }} {{ html|safe|e }} {{ 5|e }} {{ nil|e }} {{ [html]|e }}
{{ html|safe ~ '<' }} {{ html|safe + '<b>' }} {{ '<b>' + html|safe }} {{ ('<'|safe) * 2 }} {{ '<%s>'|safe % '<' }} {{ ('a'|safe)|upper ~ '<' }} {{ [html|safe] }} {{ ('<'|safe).join(['<', '>'|safe]) }} {{ '<'|safe is escaped }} {{ '<' is escaped }} {{ ('<x>'|e)|length }} {{ ('<{}>'|safe).format('<') }} {{ ('a<b'|safe).replace('a', '<') }} {{ ('a b'|safe).split()[0] + '<' }} {{ ('a'|safe)|string + '<' }} {{ ('ab'|safe)[0] + '<' }} {{ ('ab'|safe)[:1] + '<' }} {{ ('ab'|safe)|first + '<' }} {{ '<'|e == '&lt;' }} {{ 'x'|safe|tojson }} {{ (' a '|safe)|trim + '<' }} {{ ('a'|safe)|title + '<' }} {{ ('%s'|safe)|format('<') }}
{{ ('a'|safe).center(5, '<') }}
{{ 'a\nb\n\nc'|indent }} {{ 'a\nb'|indent(2, true) }} {{ 'a\n\nb'|indent(2, blank=true) }} {{ 'a\nb'|indent('> ') }} {{ ''|indent }}| {{ 'a\n'|indent }}| {{ 'a\r\nb\x0bc'|indent(1) }} {{ 'a\r'|indent(1, blank=true) }}| {{ 'a\nb'|indent(width=0) }} {{ 'a\nb'|indent(first=true) }} {{ '\n'|indent(2, true, true) }}|
{{ 5|indent }}
{{ missing|indent }}
{{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, true) }} {{ 'foo bar baz qux'|truncate(11) }} {{ 'foo bar baz qux'|truncate(11, false, '...', 0) }} {{ 'foobarbazqux'|truncate(5, leeway=0) }} {{ 'foo bar'|truncate(5, end='', leeway=0) }} {{ u|truncate(8, true, '…', 0) }} {{ l|truncate }} {{ missing|truncate }}
{{ s|truncate(2) }}
{{ 5|truncate }}
{{ 'a b, c-d e_f'|wordcount }} {{ ''|wordcount }} {{ u|wordcount }} {{ 12|wordcount }} [{{ 'ab'|center(6) }}] [{{ 'ab'|center }}] [{{ 'abc'|center(width=6) }}] [{{ 5|center(4) }}]
{{ '%s-%s'|format(1, 2) }} {{ '%(a)s'|format(a=5) }} {{ 'x'|format }} {{ '%5.1f'|format(3.14159) }}
{{ '%s'|format(1, a=2) }}
{{ 'a b/c?d=é&'|urlencode }} {{ {'a b': 'c/d', 'e': 1}|urlencode }} {{ [('x', 'y z')]|urlencode }} {{ 5|urlencode }}
{{ [1, 2, 3, 4, 5]|batch(2)|list }} {{ [1, 2, 3]|batch(2, 0)|list }} {{ []|batch(2)|list }} {{ 'abcd'|batch(3, '-')|list }} {{ [1, 2, 3, 4, 5]|slice(2)|list }} {{ [1, 2, 3, 4, 5]|slice(3, 'x')|list }} {{ [1, 2]|slice(4)|list }} {{ [1, 2]|slice(4, 'f')|list }} {{ [1, 2, 3]|batch(0)|list }} {{ []|slice(2)|list }}
{{ [1, 2]|slice(0)|list }}
{{ people|groupby('city')|list|length }} {% for c, g in people|groupby('city') %}{{ c }}:{{ g|map(attribute='name')|join(',') }};{% endfor %} {% for g in people[:3]|groupby('age') %}{{ g.grouper }}={{ g.list|length }} {% endfor %} {{ (people[:3]|groupby('age'))[0] }} {% for c, g in people|groupby('city', case_sensitive=true) %}{{ c }};{% endfor %} {% for a, g in people|groupby('age', default=0) %}{{ a }};{% endfor %}
{{ people|groupby('age') }}
{{ d|dictsort }} {{ {'B': 1, 'a': 3, 'c': 2}|dictsort }} {{ {'B': 1, 'a': 3, 'c': 2}|dictsort(true) }} {{ {'B': 1, 'a': 3, 'c': 2}|dictsort(by='value') }} {{ {'B': 1, 'a': 3}|dictsort(reverse=true) }} {{ {}|dictsort }}
{{ d|dictsort(by='value') }}
{{ d|dictsort(by='x') }}
{{ l|dictsort }}
{{ {1: 'a', 'b': 2}|dictsort }}
{{ d|items|list }} {% for k, v in d|items %}{{ k }}={{ v }};{% endfor %} {{ missing|items|list }}
{{ l|items|list }}
{{ l|map('string')|join(',') }} {{ people|map(attribute='name')|list }} {{ people|map(attribute='age', default='?')|join(' ') }} {{ people|map(attribute='tags.0', default='-')|list }} {{ names|map('upper')|map('lower')|join(' ') }} {{ names|map('replace', 'b', 'X')|list }} {{ missing|map('upper')|list }} {{ [[1, 2], [3]]|map('sum')|list }} {{ [[1, 2], [3]]|map('join', '-')|list }} {{ ''|map('upper')|list }} {{ nested|map('first')|list }} {{ [1.5, 2.5]|map('round', 0, 'ceil')|list }} {{ people|map(attribute='zzz')|list }} {{ names|map('default', 'x')|list }} {{ [' a ', 'b ']|map('trim')|join('|') }} {{ ['1', '2']|map('int')|sum }} {{ people|map(attribute=none)|first }} {{ [[3, 4]]|map(attribute=1)|list }} {{ [[3, 4]]|map(attribute='1')|list }}
{{ l|map('nofilter')|list }}
{{ l|map|list }}
{{ l|map(missing)|list }}
{{ people|map(attribute='a', x=1)|list }}
{{ people|map(attribute='tags.0.zz')|list }}
{{ 5|map('upper')|list }}
{{ l|map('nofilter') is defined }} {{ 5|map('upper') is iterable }} {{ (l|map('upper')) is string }} {{ 'yes' if []|map('upper') else 'no' }} {{ 'yes' if missing|select else 'no' }}
{{ [0, 1, '', 'a', none, [], [0]]|select|list }} {{ [0, 1, '', 'a', none]|reject|list }} {{ [1, 2, 3, 4]|select('odd')|list }} {{ [1, 2, 3, 4]|reject('even')|list }} {{ l|select('>', 1)|list }} {{ l|select('divisibleby', 2)|list }} {{ names|select('in', ['bob', 'carol'])|list }} {{ names|reject('equalto', 'bob')|list }} {{ [1, 'a', none]|select('string')|list }} {{ l|select('ge', 2)|sum }} {{ l|select('lt', 3)|first }} {{ names|select('lower')|list }}
{{ people|selectattr('admin')|map(attribute='name')|list }} {{ people|rejectattr('admin')|map(attribute='name')|list }} {{ people|selectattr('age', 'defined')|list|length }} {{ people|selectattr('name', 'equalto', 'Bob')|first }} {{ people|selectattr('city', '==', 'Rome')|map(attribute='name')|join }} {{ people|selectattr('age', 'undefined')|map(attribute='name')|join }} {{ people|rejectattr('age', 'undefined')|selectattr('age', 'ge', 30)|map(attribute='name')|list }} {{ people[:3]|selectattr('tags.0', 'equalto', 'x')|list|length }}
{{ people|selectattr('tags.0', 'equalto', 'x')|list|length }}
{{ people|selectattr|list }}
{{ people|selectattr('age', 'gt', 1)|list }}
{{ l|select('notest')|list }}
{{ s|nofilter }}
{% if no %}{{ s|nofilter }}{% endif %}ok
{% if no %}{% for x in l %}{{ s|nofilter }}{% endfor %}{% endif %}
{{ 'x' if t else s|nofilter }}
{% if t %}{{ s|nofilter }}{% endif %}
{{ s is notest }}
{{ s|upper|lower|replace('l', 'L')|length + 1 }} {{ s|upper is upper }} {{ -5|abs + 1 }} {{ (l|sort|first) + (l|sort|last) }} {{ l|length > 2 and s|length > 3 }} {{ 'a' ~ l|join ~ 'b' }} {{ not l|length }}
{{ s|upper() }} {{ s|replace(old='l', new='L') }} {{ s|replace(*['l', 'L']) }} {{ s|replace(**{'old': 'l', 'new': 'L'}) }} {{ s|join(d='-') }}
{{ s|upper(1) }}
{{ s|replace('a') }}
{{ s|replace('a', 'b', zzz=1) }}
{{ s|default(value='x') }}
{{ 1024|filesizeformat }} {{ 1|filesizeformat }} {{ 999|filesizeformat }} {{ 1500000|filesizeformat }} {{ 1500000|filesizeformat(true) }} {{ '2048'|filesizeformat }}
"""

JSON = r"""
{{ d|tojson }} {{ l|tojson }} {{ s|tojson }} {{ u|tojson }} {{ nil|tojson }} {{ t|tojson }} {{ f|tojson }} {{ 1.0|tojson }} {{ html|tojson }} {{ (1, 2)|tojson }} {{ ''|tojson }} {{ []|tojson }} {{ {}|tojson }}
{{ d|tojson(indent=2) }}
{{ people[:2]|tojson(indent=4) }}
{{ d|tojson(ensure_ascii=true) }} {{ u|tojson(true) }} {{ u|tojson(ensure_ascii=true) }} {{ 'a"\\\n\t\r\b\f/\x01\x7f\u2028' | tojson }} {{ '\x7f\u2028'|tojson(true) }}
{{ d|tojson(separators=(',', ':')) }} {{ d|tojson(separators=[', ', ' = ']) }} {{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ {'b': [1, {'c': []}], 'a': {}}|tojson(indent=1, sort_keys=true) }} {{ l|tojson(indent='--') }} {{ d|tojson(indent=0) }} {{ [[], {}, [[]]]|tojson(indent=2) }} {{ d|tojson(indent=2, separators=(',', ':')) }}
{{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }} {{ {'x': [1e20, 1e-7, 100.0, -0.0]}|tojson }} {{ 'inf'|float|tojson }} {{ 'nan'|float|tojson }}
{{ missing|tojson }}
{{ {(1, 2): 3}|tojson }}
{{ range(3)|tojson }}
{{ d.items()|tojson }}
{{ d.items()|list|tojson }} {{ l|map('string')|list|tojson }}
{{ namespace(a=1)|tojson }}
{{ (l|map('string'))|tojson }}
{{ {'b': 1, 2: 3}|tojson(sort_keys=true) }}
{{ d|tojson(3) }}
"""

TESTS = r"""
{{ s is defined }} {{ missing is defined }} {{ missing is undefined }} {{ d.zzz is undefined }} {{ nil is defined }} {{ nil is none }} {{ s is not none }} {{ missing is none }}
{{ s is string }} {{ n is string }} {{ n is number }} {{ f is number }} {{ t is number }} {{ n is integer }} {{ t is integer }} {{ f is float }} {{ t is boolean }} {{ nil is boolean }} {{ t is true }} {{ 1 is true }} {{ no is false }} {{ 0 is false }}
{{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ n is sequence }} {{ missing is sequence }} {{ l is iterable }} {{ n is iterable }} {{ missing is iterable }} {{ range(3) is sequence }} {{ d.keys() is sequence }} {{ d.keys() is iterable }} {{ (l|map('abs')) is sequence }} {{ (l|map('abs')) is iterable }} {{ namespace() is mapping }} {{ namespace() is iterable }}
{{ range is callable }} {{ s.upper is callable }} {{ n is callable }} {{ missing is callable }} {{ joiner() is callable }} {{ cycler(1) is callable }} {{ namespace() is callable }}
{{ 3 is odd }} {{ 3 is even }} {{ -3 is odd }} {{ 4.0 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ true is odd }}
{{ 'a' is odd }}
{{ 9 is divisibleby 0 }}
{{ 1 is eq 1 }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is le 1 }} {{ 2 is gt 1 }} {{ 2 is ge 3 }} {{ 1 is equalto 1.0 }} {{ 1 is lessthan(2) }} {{ 3 is greaterthan 2 }} {{ none is sameas none }} {{ true is sameas true }} {{ 1 is sameas true }} {{ s is sameas s }}
{{ 1 is in [1, 2] }} {{ 'b' is in 'abc' }} {{ 'b' is not in d }} {{ 5 is not in [1] }}
{{ 1 is in 5 }}
{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'Abc' is lower }} {{ '' is lower }} {{ 5 is upper }}
{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ 'nope' is test }} {{ 5 is filter }}
{{ [] is filter }}
{{ not s is defined }} {{ s is defined and n is defined }} {{ s is string and s|length > 3 or no }} {{ 1 + 1 is number }} {{ (1 + 1) is eq 2 }} {{ s is defined == true }} {{ 'x' if s is defined else 'y' }} {{ s is not defined or n is odd }} {{ n is odd and m is odd }}
{{ s is defined is true }}
{{ s is defined if t }}
{{ s is nope.nope }}
{{ 3 is divisibleby }}
{{ s is eq s.upper().lower().title() }} {{ 7 is eq n + 1 }} {{ n is eq 7 ~ 'x' }} {{ [1] is eq [1] }} {{ {'a': 1} is eq {'a': 1} }}
{{ n is in (7, 8) }}
{{ n is in [7, 8] }}
"""

STATEMENTS = r"""
{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set (c, d2) = [3, 4] %}{{ c }}{{ d2 }} {% set a, b = b, a %}{{ a }}{{ b }} {% set a, (b, c) = 1, (2, 3) %}{{ a }}{{ b }}{{ c }} {% set x, y = 'hi' %}{{ x }}-{{ y }} {% set p, q = {'k1': 1, 'k2': 2} %}{{ p }}{{ q }}
{% set a, b = 1 %}
{% set a, b = [1] %}
{% set a, b = [1, 2, 3] %}
{% set x = 1, %}{{ x }}
{% set x = 1, 2 %}{{ x }}
{% set x %}body {{ n }}{% endset %}[{{ x }}] {% set y | upper %}abc{% endset %}{{ y }} {% set z | replace('a', 'b') | trim %} aaa {% endset %}[{{ z }}] {% set w %}{% set inner = 5 %}{{ inner }}{% endset %}{{ w }}{{ inner }}
{% set a, b %}xy{% endset %}{{ a }}{{ b }}
{% set ns = namespace(a=1, b='x') %}{{ ns.a }}{{ ns.b }}{% set ns.a = ns.a + 1 %}{{ ns.a }} {% set ns.c = [1] %}{{ ns.c }} {{ ns.zzz }}| {{ ns['a'] }} {{ ns }} {% set ns.x, ns.y = 1, 2 %}{{ ns.x + ns.y }} {% set ns.t %}block{% endset %}{{ ns.t }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }} {% set m2 = namespace([['k', 'v']]) %}{{ m2.k }}
{% set ns = namespace(_x=1) %}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set d.x = 1 %}
{% set missing.x = 1 %}
{% set x.y.z = 1 %}
{% set 1 = 2 %}
{% set none = 2 %}
{% set x[0] = 2 %}
{% set 'a' = 2 %}
{% set [a] = [2] %}
{% set x %}{% endset %}[{{ x }}]
{% set x = %}
{% set x
{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %} {% if no %}a{% elif missing %}b{% else %}c{% endif %} {% if l %}x{% endif %}{% if e %}y{% endif %} {% if not e %}z{% endif %} {% if a, b %}tuple{% endif %}
{% if n == 7 and s.startswith('H') %}yes{% endif %}{% if missing is defined and missing.x %}no{% endif %}
{% if %}x{% endif %}
{% if n %}x
{% if n %}x{% endfor %}
{% if n %}{% else %}{% else %}{% endif %}
{% elif n %}
{% endif %}
{% unknown %}
{% %}
{% 5 %}
{% if t: %}colon{% endif %} {% for x in l: %}{{ x }}{% endfor %}
{% for x in l %}{{ x }},{% endfor %} {% for k in d %}{{ k }};{% endfor %} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for c in 'añb' %}[{{ c }}]{% endfor %} {% for x in missing %}no{% else %}empty{% endfor %} {% for a, b in [[1, 2], (3, 4)] %}{{ a }}+{{ b }} {% endfor %} {% for (a, b), c in [[[1, 2], 3]] %}{{ a }}{{ b }}{{ c }}{% endfor %} {% for x in 1, 2, 3 %}{{ x }}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for x in none %}{% endfor %}
{% for a, b in l %}{% endfor %}
{% for x in l if x > 1 %}{{ x }}{{ loop.index }}/{{ loop.length }} {% endfor %} {% for x in l if x > 5 %}no{% else %}none{% endfor %} {% for k, v in d.items() if v is number %}{{ k }}{% endfor %} {% for x in [1, 2, 3, 4] if x is even %}{{ loop.first }}{{ loop.last }}{% endfor %} {% for x in l if loop is defined %}{{ x }}{% endfor %}
{% for x in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.previtem }}|{{ loop.nextitem }}|{{ loop.depth }}{{ loop.depth0 }}{{ loop.cycle('a', 'b') }} {% endfor %}
{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}{% for x in [1, 2] %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %} {% for x in l %}{{ loop }}{% endfor %} {% for x in l|map('string') %}{{ loop.length }}{{ loop.last }}{{ loop.revindex }} {% endfor %} {% for x in l %}{{ loop.nope }}{% endfor %}
{% for x in l %}{{ loop.cycle() }}{% endfor %}
{% for x in l %}{% set loop = 1 %}{% endfor %}
{% for loop in l %}{% endfor %}
{% set loop = 5 %}{{ loop }}
{% for x in [1, 2] %}{% for y in [3, 4] %}{{ loop.index }}{{ x }}{{ y }} {% endfor %}{{ loop.index }}{% endfor %} {% for x in [1, 2] %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %} {% for x in [1] %}{% for y in [2] %}{{ x }}{% endfor %}{{ y }}{% endfor %}
{% for x in [1, 2, 3, 4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %} {% for x in [1] %}{% continue %}{% else %}E{% endfor %} {% for x in [1] %}{% break %}{% else %}E{% endfor %} {% for x in [1, 2] %}{% if x == 1 %}{% continue %}{% endif %}{% else %}E{% endfor %} {% for x in [1, 2] %}{% for y in [] %}{% else %}{% break %}{% endfor %}{{ x }}{% endfor %} {% for x in [1, 2] %}{% set q %}{% break %}{% endset %}{% endfor %}{{ q }} {% for x in [1, 2] %}{% filter upper %}a{% continue %}{% endfilter %}{% endfor %} {% for x in [1, 2] %}{% with %}{% break %}{% endwith %}{% endfor %}
{% break %}
{% continue %}
{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for x in l %}{% else %}{% break %}{% endfor %}
{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}
{% for x in tree recursive %}{{ x.v }}{% if x.kids %}({{ loop(x.kids) }}){% endif %}{{ ',' if not loop.last }}{% endfor %} {% for x in tree recursive %}{{ loop.depth }}{{ loop.depth0 }}{{ loop(x.kids) if x.kids }}{% endfor %} {% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{% endif %}{% endfor %} {% for x in [] recursive %}{% else %}empty{% endfor %} {% for x in tree if x.v < 4 recursive %}{{ x.v }}{{ loop(x.kids) if x.kids }}{% endfor %}
{% for x in l %}{{ loop(l) }}{% endfor %}
{% for x in tree recursive %}{{ loop() }}{% endfor %}
{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}
{% for x in l
{% for x l %}{% endfor %}
{% for 1 in l %}{% endfor %}
{% for x.y in l %}{% endfor %}
{% for x, in [[1], [2]] %}{{ x }}{% endfor %}
{% for x in 1, recursive %}{{ x }}{% endfor %}
{% for x in l %}{% endif %}
{% for i in range(3) %}{{ i }}{% endfor %} {% for i in range(5, 0, -2) %}{{ i }}{% endfor %} {{ range(0)|list }} {{ range(2, 5)|list }} {{ range(3, 0)|list }}
{{ range(100001) }}
{{ range(1, 2, 0) }}
{{ range('a') }}
{{ range(1.5) }}
{{ range() }}
{% with a = 1, b = n %}{{ a }}{{ b }}{% set a = 5 %}{{ a }}{% endwith %}{{ a }} {% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }} {% with n = n + 1 %}{{ n }}{% endwith %}{{ n }} {% with a = 1, b = a %}[{{ b }}]{% endwith %} {% with x, y = (1, 2) %}{{ x }}{{ y }}{% endwith %}
{% with a %}{% endwith %}
{% with a=1 b=2 %}{% endwith %}
{% filter upper %}abc {{ s }}{% endfilter %} {% filter replace('a', 'b')|upper %}aaa{% endfilter %} {% filter trim %}  {% set x = 1 %}{{ x }} {% endfilter %}{{ x }} {% filter indent(2) %}a
b{% endfilter %}
{% filter nofilter %}a{% endfilter %}
{% filter %}a{% endfilter %}
{% print 1, 'a', n %}|{% print s|upper %}
{% generation %}said {{ n }}{% set gg = 1 %}{% endgeneration %}[{{ gg }}] {% for x in l %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}
{% include 'x' %}
{% import 'x' as y %}
{% from 'x' import y %}
{% extends 'x' %}
{% do x %}
{{ raise_exception('no!') }}
{% if no %}{{ raise_exception('no!') }}{% endif %}fine
{{ raise_exception() }}
{{ strftime_now('%Y-%m-%d %H:%M:%S') }} {{ strftime_now('%d %b %Y') }} {{ strftime_now('%A, %B %d, %Y %j %p %I %y %a %e %w %u %U %W %V %G %g %C %D %F %T %R %r %c %x %X %h %n%t%% %k %l') }} {{ strftime_now('%-d %-m %_d %^a %^B %-H %Z%z|') }} {{ strftime_now('') }}| {{ strftime_now('é%Yü') }} {{ strftime_now('%#a %0e %-I %-j %q %') }}
{{ strftime_now(5) }}
{{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }} {{ dict({'a': 1}, b=2) }} {{ dict() }} {{ dict(d)|length }} {{ dict(**{'z': 1}) }} {{ {}.fromkeys(['a', 'b'], 0) }}
{{ dict([1]) }}
{{ dict(1, 2) }}
{% set c = cycler('a', 'b', 'c') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.next() }} {{ c.pos }} {{ c.items }} {% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %} {% set j2 = joiner() %}{{ j2() }}x{{ j2() }}
{{ cycler() }}
{{ super }}|{{ caller }}|{{ varargs }}|{{ context }}
{{ range(3)|map('string')|join }} {{ (range(3)|list)[1] }} {{ range(3)[1] }}
"""

MACROS = r"""
{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }} {{ m() }} {{ m(1, b=none) }} {{ m(*[7, 8]) }} {{ m(**{'a': 9}) }} {{ m }} {{ m.name }} {{ m.arguments }} {{ m.catch_kwargs }} {{ m.catch_varargs }} {{ m.caller }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(z=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
{% macro m(a, a) %}{% endmacro %}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m(1) %}{% endmacro %}
{% macro m %}{% endmacro %}
{% macro true() %}{% endmacro %}
{% macro v() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ v() }}{{ v(1, 2) }}{{ v(1, x=2) }} {% macro w(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ w(1, 2, 3) }} {% macro k(a) %}{{ kwargs }}{% endmacro %}{{ k(1, z=1, y=2) }} {{ v.catch_kwargs }}{{ v.catch_varargs }}
{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }} {% macro m2(a, b=n) %}{{ b }}{% endmacro %}{{ m2(1) }} {% macro m3(b=c, c=1) %}[{{ b }}]{{ c }}{% endmacro %}{{ m3() }}
{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }} {% macro even(x) %}{% if x == 0 %}even{% else %}{{ odd(x - 1) }}{% endif %}{% endmacro %}{% macro odd(x) %}{% if x == 0 %}odd{% else %}{{ even(x - 1) }}{% endif %}{% endmacro %}{{ even(7) }}
{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}
{% macro m() %}{{ later }}{% endmacro %}{% set later = 3 %}{{ m() }} {% macro g() %}{% set s = 'inner' %}{{ s }}{% endmacro %}{{ g() }}{{ s }} {% macro h() %}{{ s }}{% set s = 'x' %}{{ s }}{% endmacro %}{{ h() }} {{ later2 }}{% set later2 = 1 %}
{% macro outer() %}{% macro inner() %}I{{ n }}{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }} {{ inner is defined }}
{% macro m() %}  text  {% endmacro %}[{{ m()|trim }}] {{ m() | length }} {{ m() ~ 'x' }} {{ m() is string }} {% set r = m() %}[{{ r }}]
{% macro wrap(tag) %}<{{ tag }}>{{ caller() }}</{{ tag }}>{% endmacro %}{% call wrap('b') %}bold {{ n }}{% endcall %} {% macro each(items) %}{% for i in items %}{{ caller(i, loop.index) }};{% endfor %}{% endmacro %}{% call(x, i) each(l) %}{{ i }}:{{ x }}{% endcall %} {% call(x, i='d') each([1]) %}{{ x }}{{ i }}{% endcall %} {% macro opt() %}{% if caller is defined %}{{ caller() }}{% else %}none{% endif %}{% endmacro %}{{ opt() }}{% call opt() %}given{% endcall %}
{% macro nocall() %}x{% endmacro %}{% call nocall() %}y{% endcall %}
{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}
{% macro m(caller) %}{{ caller }}{% endmacro %}{{ m(1) }}
{% macro m(caller=5) %}{{ caller }}{% endmacro %}{{ m() }}{{ m(caller=6) }}{% call m() %}x{% endcall %}
{% call 5 %}{% endcall %}
{% call s.upper() %}x{% endcall %}
{% call foo() %}x{% endcall %}
{% macro a() %}{{ caller() }}!{% endmacro %}{% macro b() %}{% call a() %}[{{ caller() }}]{% endcall %}{% endmacro %}{% call b() %}deep{% endcall %}
{% macro a() %}{{ caller() }}!{% endmacro %}{% call a() %}{% call a() %}two{% endcall %}{% endcall %}
{% set ns = namespace() %}{% macro m(x) %}{% set ns.total = (ns.total or 0) + x %}{% endmacro %}{{ m(2) }}{{ m(3) }}{{ ns.total }} {% for x in l %}{% macro lm() %}{{ x }}{% endmacro %}{{ lm() }}{% endfor %}
{% if t %}{% macro c() %}C{% endmacro %}{% endif %}{{ c() }} {% if no %}{% macro c2() %}C{% endmacro %}{% endif %}{{ c2 is defined }}
{{ early() }}{% macro early() %}x{% endmacro %}
{% macro m(x, y) %}{{ x }}{{ y is defined }}{{ y }}{% endmacro %}{{ m(1) }}{{ m(1, missing) }}{{ m(missing, 2) }}
{% macro render(node, depth=0) %}{{ '  ' * depth }}{{ node.v }};{% for k in node.kids or [] %}{{ render(k, depth + 1) }}{% endfor %}{% endmacro %}{% for x in tree %}{{ render(x) }}{% endfor %}
{% macro m(a, b='x', *c) %}{% endmacro %}
{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ loop }}{% endcall %}{% for x in [1, 2] %}{% call m() %}{{ loop.index }}{{ x }}{% endcall %}{% endfor %}
{% macro kw(a) %}{{ kwargs.get('b', 'none') }}{% endmacro %}{{ kw(1) }}{{ kw(1, b=2) }}{{ kw(a=1, b='if') }} {% macro kw2(kwargs) %}{{ kwargs }}{% endmacro %}{{ kw2(3) }}
{{ s.upper(a=1) }}
{{ dict(a=1, a=2) }}
{{ dict(a=1, **{'a': 2}) }}
{{ s.replace(*['H'], 'J') }}
{{ s.replace('H', *['J']) }} {{ '{} {x}'.format(*[1], **{'x': 2}) }} {{ '{}{}'.format(*'ab') }}
{{ s.replace(*5) }}
{{ dict(**5) }}
"""

SCOPES = r"""
{% set x = 0 %}{% for i in l %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% for i in [1, 2] %}{% if loop.first %}{% set y = 'set' %}{% endif %}[{{ y }}]{% endfor %}
{% if t %}{% set z = 1 %}{% endif %}{{ z }} {% if no %}{% set z2 = 1 %}{% endif %}{{ z2 }}| {% if t %}{% if t %}{% set deep = 1 %}{% endif %}{% endif %}{{ deep }}
{{ n }}{% set n = 1 %}{{ n }} {% for i in [1] %}{{ n }}{% set n = 2 %}{{ n }}{% endfor %}{{ n }}
{% for i in [1] %}{{ s }}{% endfor %}{% set s = 'later' %}{{ s }}
{% if no %}{% set s = 'x' %}{% endif %}{{ s }}
{% for i in [1] %}{% if no %}{% set s = 'x' %}{% endif %}{{ s }}{% endfor %}
{% for i in [1, 2] %}{{ q }}{% set q = i %}{{ q }}{% endfor %} {{ q is defined }}
{% set q = 'o' %}{% for i in [1, 2] %}{{ q }}{% set q = i %}{{ q }}{% endfor %}{{ q }}
{% macro m() %}{{ i }}{% endmacro %}{% for i in [1] %}{{ m() }}{% endfor %}|{% set i = 5 %}{{ m() }}
{% for n in [1] %}{{ n }}{% endfor %}{{ n }} {% for n in n|string %}{{ n }}{% endfor %}
{% set a %}{% set b = 1 %}{{ b }}{% endset %}{{ b is defined }} {% filter upper %}{% set c = 1 %}{% endfilter %}{{ c is defined }} {% with %}{% set d = 9 %}{{ d }}{% endwith %}{{ d.b }}
{% for x in l %}{% set found = x %}{% endfor %}{{ found is defined }} {% set ns = namespace(found=false) %}{% for x in l %}{% if x == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}
{% for a in [1] %}{% for b in [2] %}{% set c = a + b %}{{ c }}{% endfor %}{{ c is defined }}{% endfor %}
{% set x = 1 %}{% macro m() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }} {% macro r() %}{{ x }}{% endmacro %}{% set x = 3 %}{{ r() }}
{% for x in l %}{% else %}{% set e2 = 1 %}{% endfor %}{{ e2 is defined }}
{% if missing is not defined %}{% set missing = 'now' %}{% endif %}{{ missing }} {% if not tools is defined %}{% set tools = 1 %}{% endif %}{{ tools }}
{% set ns = namespace(i=0) %}{% for x in [1, 2, 3, 4] if x != ns.i %}{% set ns.i = x + 1 %}{{ x }}{% endfor %}
{% set x = x %}{{ x is defined }} {% set n = n %}{{ n }}
{% for x in l %}{% if x == 1 %}{% set w = 'one' %}{% else %}{{ w }}{% endif %}{% endfor %}
{% with loop = 5 %}{{ loop }}{% endwith %} {% for x in [1] %}{% with loop = 6 %}{{ loop }}{% endwith %}{% endfor %}
{% set it = l|map('string') %}{{ it|join }}{{ it|join }}| {% set it = [1, 2]|select %}{% for x in it %}{{ x }}{% endfor %}{% for x in it %}{{ x }}{% endfor %}
{% set x = 1 %}{% if t %}{% set x = 2 %}{% endif %}{{ x }}{% for i in [1] %}{% if t %}{% set x = 3 %}{% endif %}{{ x }}{% endfor %}{{ x }}
{% set s %}{{ s }}{% endset %}[{{ s }}]
{% for k, v in d.items() %}{% set k = 'k' %}{{ k }}{% endfor %}
"""

# White space is the point here, so each is a list item.
WHITESPACE = [
    "a\n{% if t %}\nb\n{% endif %}\nc\n", "a\n  {% if t %}\n  b\n  {% endif %}\nc", "a  {% if t %}  b  {% endif %}  c", "a {%- if t -%} b {%- endif -%} c",
    "a\n\n{%- if t %}\n\nb{% endif %}\n\n\nc", "  {%+ if t %}x{% endif %}", "{% if t +%}\nx{% endif %}", "a\n   {{ n }}\n   b", "a  {{- n -}}  b", "a\n {{- n }}\n", "x{# c #}\ny", "x\n  {# c #}  \ny", "x {#- c -#} y",
    "{#+ c +#}\nz", "{# a {{ b }} {% c %} #}d", "{#", "a {# b", "{% raw %}{{ x }}{% if %}{% endraw %}", "a\n  {% raw %}\n  {{ x }}\n  {% endraw %}\nb", "{%- raw -%}  {{ x }}  {%- endraw -%}  y", "{% raw %}", "{% raw %}a{% endraw", "{% raw %}a{% endraw %}\nb",
    "line\r\nnext\rthird\r\n", "\n", "", " ", "\n\n", "a\n\n", "{{ 'a\r\nb' }}", "{{ '\n' }}x", "{{ n }}\n", "{{ n }}\n\n", "{% set x = 1 %}\n\n{{ x }}", "\t{% if t %}\t\n\tx{% endif %}", "\u00a0{% if t %}x{% endif %}", "a\u00a0{%- if t %}x{% endif %}",
    "{% for x in l %}\n  {{ x }}\n{% endfor %}\nend", "{%- for x in l %}\n  {{- x }}\n{%- endfor %}\nend", "{% for x in l -%}\n  {{ x }}\n{% endfor -%}\nend", "{{ '{{' }} {{ '%}' }} { { } } {% raw %}{%{% endraw %}", "{{'a'}}{{\n'b'\n}}", "{{-5}}{{+5}}{{ -5 }}", "{{ {'a': {'b': 1}}}}", "{{ {'a': {'b': 1}} }}",
    "}} %} #}", "{ {% if t %}a{% endif %} }", "{{{'a': 1}}}", "{{ {'a': 1}['a'] }}", "{{ n", "{{ n }", "{% if t", "{{ n %}", "{% if t }}", "{%if t%}a{%endif%}", "{%-if t-%} a {%-endif-%}", "a{%- set x = 1 -%}  b", "{% set x %}\n a\n{% endset %}\n[{{ x }}]", "{% macro m() %}\n x\n{% endmacro %}\n[{{ m() }}]",
    "{% macro m() -%}\n x\n{%- endmacro %}\n[{{ m() }}]", "{% if t %}{# c #}\n{% endif %}x", "a {#- x #}  \n b", "{{ n -}}\n  {% if t %} y{% endif %}", "  {% if t %}a{% endif %}  \n  {% if t %}b{% endif %}", "x\n\t {% set a = 1 %}\t\ny", "{%- set a = 1 %}\n\ny", "{% raw -%}\n x {%- endraw %}", "{% raw %}\n x{% endraw -%}\n y", "\ufeffx", "日本\n  {% if t %}語{% endif %}",
]


def split(text):
    """One snippet a line; a line that ends inside a tag goes on."""
    snippets, buffer = [], ""
    for line in text.strip("\n").split("\n"):
        buffer = f"{buffer}\n{line}" if buffer else line
        if buffer.count("{{") + buffer.count("{%") > buffer.count("}}") + buffer.count("%}") and line.endswith(("+", "\\")) or buffer.endswith("{% filter indent(2) %}a"):
            continue
        snippets.append(buffer)
        buffer = ""
    return snippets + ([buffer] if buffer else [])


GROUPS = [
    ("literals", VALUES, split(LITERALS)),
    ("operators", VALUES, split(OPERATORS)),
    ("access", VALUES, split(ACCESS)),
    ("methods", VALUES, split(METHODS)),
    ("filters", VALUES, split(FILTERS)),
    ("json", VALUES, split(JSON)),
    ("tests", VALUES, split(TESTS)),
    ("statements", VALUES, split(STATEMENTS)),
    ("macros", VALUES, split(MACROS)),
    ("scopes", VALUES, split(SCOPES)),
    ("whitespace", VALUES, WHITESPACE),
]
