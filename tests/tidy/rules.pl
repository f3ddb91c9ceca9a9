#!/usr/bin/perl
# One rule of tidy over files: rules.pl RULE FILE... prints a finding a line. Tables: *.txt beside it.
use strict;
use warnings;

my ($rule, @files) = @ARGV;
my %limit = (file => 1000, header => 150, function => 70, line => 100);
my (%excepted);

sub table {
        my ($name) = @_;
        open my $f, '<', "tests/tidy/$name" or die "tidy: $name: $!\n";
        return grep { !/^\s*(#|$)/ } map { chomp; $_ } <$f>;
}

for (table('exceptions.txt')) {
        my ($r, $path, $why) = split ' ', $_, 3;
        die "tidy: exception without a reason: $_\n" unless $why;
        $excepted{"$r $path"} = 1;
}

sub lines_of {
        my ($path) = @_;
        open my $f, '<', $path or die "tidy: $path: $!\n";
        my @l = <$f>;
        chomp @l;
        return @l;
}

sub below { my ($path, $folder) = @_; return $path eq $folder || index($path, "$folder/") == 0; }

sub check_includes {
        my %allowed = map { /^(\S+):\s*(.*)$/ ? ($1 => [split ' ', $2]) : () } table('layers.txt');
        for my $path (@files) {
                my ($own) = sort { length $b <=> length $a } grep { below($path, $_) } keys %allowed;
                (print("$path: no layer in layers.txt\n"), next) unless defined $own;
                (my $folder = $path) =~ s,/[^/]*$,,;
                my $i = 0;
                for (lines_of($path)) {
                        $i++;
                        next unless /^\s*#\s*include\s+"([^"]+)"/;
                        my $inc = $1;
                        next if $inc =~ m,^proto/, || $inc eq 'version.h' || below($inc, $folder);
                        next if below($inc, $own) && $own =~ m,/,;
                        next if grep { below($inc, $_) } @{$allowed{$own}};
                        print "$path:$i: may not include $inc\n";
                }
        }
}

sub check_homes {
        my %home = map { /^(\S+):\s*(.*)$/ ? ($1 => [split ' ', $2]) : () } table('homes.txt');
        for my $path (@files) {
                next if below($path, 'tests/bench') || below($path, 'tests/fuzz');
                my $i = 0;
                for (lines_of($path)) {
                        $i++;
                        next unless /^\s*#\s*include\s+<([^>]+)>/ && $home{$1};
                        next if grep { below($path, $_) } @{$home{$1}};
                        print "$path:$i: <$1> is at home in @{$home{$1}}\n";
                }
        }
}

sub check_banned {
        my %banned = map { /^(\S+?):([^:]*):\s*(.*)$/ ? ($1 => [$2, $3]) : () } table('banned.txt');
        my $any = join '|', map { quotemeta } sort keys %banned;
        for my $path (@files) {
                my $i = 0;
                for (lines_of($path)) {
                        $i++;
                        next if m,^\s*(/?\*|//),;
                        (my $code = $_) =~ s/"(\\.|[^"\\])*"//g;
                        while ($code =~ /(?<![\w.>])($any)\s*\(/go) {
                                my ($where, $why) = @{$banned{$1}};
                                next if grep { below($path, $_) } split ' ', $where;
                                print "$path:$i: $1 is banned: $why\n";
                        }
                }
        }
}

sub check_file {
        for my $path (@files) {
                my $n = () = lines_of($path);
                print "$path: $n lines\n" if $n > $limit{file} && !$excepted{"file $path"};
        }
}

sub check_header {
        for my $path (grep { /\.h$/ } @files) {
                my $n = () = lines_of($path);
                print "$path: $n lines\n" if $n > $limit{header} && !$excepted{"header $path"};
        }
}

sub check_function {
        for my $path (grep { /\.c$/ } @files) {
                my ($i, $start, $name, $last) = (0, 0, '?', '');
                for (lines_of($path)) {
                        $i++;
                        if (/^\{/) {
                                $start = $i;
                        } elsif (/^\}/ && $start) {
                                my $n = $i - $start + 1;
                                print "$path:$start: $name has $n lines\n"
                                        if $n > $limit{function} && !$excepted{"function $path:$name"};
                                $start = 0;
                        } elsif (!$start && /^[a-zA-Z].*?(\w+)\(/) {
                                $name = $1;
                        }
                }
        }
}

sub check_line {
        for my $path (@files) {
                my $i = 0;
                for (lines_of($path)) {
                        $i++;
                        print "$path:$i: ", length, " columns\n" if length > $limit{line};
                        print "$path:$i: a tab\n" if /\t/;
                }
        }
}

# Lines of a test script that look like a check, and fail no test: bash passes over a failing "!",
# and over a failing part of an && list that is not its last. As the last line of a function they
# are its result. Lines within a quoted script of several lines are not told from others.
sub check_assertion {
        for my $path (@files) {
                my @l = lines_of($path);
                for my $i (0 .. $#l) {
                        next if ($l[$i + 1] // '') =~ /^\}/ || $l[$i] =~ /\|\|/;
                        my $is_list = $l[$i] =~ /^\s*\[\[? .*? \]\]? && (?:.* && )?(\S+)[^&]*$/
                                && $1 =~ /^(!|\[\[?|grep|cmp|diff|ctl\w*)$/;
                        print "$path:", $i + 1, ": fails no test: $l[$i]\n" if $is_list || $l[$i] =~ /^\s*!\s/;
                }
        }
}

my %check = (includes => \&check_includes, homes => \&check_homes, banned => \&check_banned,
        file => \&check_file, header => \&check_header, function => \&check_function,
        line => \&check_line, assertion => \&check_assertion);
($check{$rule} or die "tidy: no rule $rule\n")->();
