/* Placeholder of the first commit: replaced before anything else lands. */
int main(void)
{
        return 1;
}
