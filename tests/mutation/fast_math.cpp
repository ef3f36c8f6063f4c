// What a program checks that is compiled with -ffast-math, for mutants that only that flag shows.
#include "../packaging/consumer/main.cpp"
#include "../packaging/consumer/other.cpp"
